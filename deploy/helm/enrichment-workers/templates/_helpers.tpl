{{- define "workers.name" -}}
{{- printf "%s" .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- end -}}

{{- define "workers.selector" -}}
app.kubernetes.io/name: enrichment-workers
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "workers.labels" -}}
{{ include "workers.selector" . }}
app.kubernetes.io/component: worker
app.kubernetes.io/part-of: enrichment-workers
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* Other pods than the workers': no selector of theirs may take these. */}}
{{- define "workers.gateway.selector" -}}
app.kubernetes.io/name: enrichment-gateway
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "workers.gateway.labels" -}}
{{ include "workers.gateway.selector" . }}
app.kubernetes.io/component: gateway
app.kubernetes.io/part-of: enrichment-workers
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* Nor these: jobs that end. */}}
{{- define "workers.feedback.selector" -}}
app.kubernetes.io/name: enrichment-feedback
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "workers.feedback.labels" -}}
{{ include "workers.feedback.selector" . }}
app.kubernetes.io/component: feedback
app.kubernetes.io/part-of: enrichment-workers
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* A CronJob's name has at most 52 characters: Kubernetes adds eleven to make that of a job. */}}
{{- define "workers.feedback.name" -}}
{{- $name := printf "%s-feedback-%s" (include "workers.name" .root) .name | replace "_" "-" | replace "." "-" -}}
{{- if gt (len $name) 52 -}}
{{- fail (printf "feedback: %s is longer than the 52 characters that a CronJob's name may have; give the release or the loop a shorter one" $name) -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{/* What a loop needs that a pod does not have by itself. */}}
{{- define "workers.feedback.checked" -}}
{{- $feedback := .Values.feedback -}}
{{- $names := list -}}
{{- range $feedback.loops -}}
{{- if has .name $names -}}
{{- fail (printf "feedback: loop %s is there twice" .name) -}}
{{- end -}}
{{- $names = append $names .name -}}
{{- if and .keep .collectSchedule -}}
{{- fail (printf "feedback: loop %s: files are only removed where nothing collects meanwhile; leave out keep or collectSchedule" .name) -}}
{{- end -}}
{{- if not $.Values.topologyConfigMap -}}
{{- $declared := index ($.Values.topology.feedback | default dict) .name -}}
{{- if and $feedback.metricsEndpoint ($.Values.topology.telemetry | default dict).endpoint -}}
{{- fail "feedback.metricsEndpoint: the topology's telemetry.endpoint goes before it; leave one of them out" -}}
{{- end -}}
{{- if not $declared -}}
{{- fail (printf "feedback: the topology has no loop %q" .name) -}}
{{- end -}}
{{- if and ($declared.lake | default dict).directory (not $feedback.lake.volume) -}}
{{- fail (printf "feedback: the lake of loop %s is a directory, which would end with the pod: name a volume in feedback.lake, or a url in the topology" .name) -}}
{{- end -}}
{{- if and $.Values.topology.models.directory (not $feedback.models.volume) -}}
{{- fail (printf "feedback: loop %s writes versions into the store of models, which is a directory: name a volume that can be written in feedback.models, or a url in the topology" .name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "workers.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "workers.name" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end -}}

{{- define "workers.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "workers.configMap" -}}
{{ .Values.topologyConfigMap | default (printf "%s-topology" (include "workers.name" .)) }}
{{- end -}}

{{/* The worker's part of the topology; empty where that is a ConfigMap of the user's. */}}
{{- define "workers.declared" -}}
{{- if not .Values.topologyConfigMap -}}
{{- toYaml (index .Values.topology.workers .Values.worker) -}}
{{- end -}}
{{- end -}}

{{/* Seconds of a duration as topology.yaml writes it: 500ms, 20s, 2m, 1h. */}}
{{- define "workers.seconds" -}}
{{- $text := . | toString -}}
{{- $number := regexFind "^[0-9.]+" $text | float64 -}}
{{- $unit := regexFind "[a-z]+$" $text -}}
{{- $scale := get (dict "ms" 0.001 "s" 1.0 "m" 60.0 "h" 3600.0) ($unit | default "s") -}}
{{- ceil (mulf $number $scale) | int -}}
{{- end -}}

{{/* How long a pod may take to end: the drain, then the client's goodbye and what comes after. */}}
{{- define "workers.grace" -}}
{{- $declared := include "workers.declared" . | fromYaml -}}
{{- $drain := $declared.drain_timeout | default "20s" -}}
{{- if .Values.topologyConfigMap -}}
{{- $drain = printf "%vs" .Values.drainSeconds -}}
{{- end -}}
{{- $least := add (include "workers.seconds" $drain | int) 40 -}}
{{- $wanted := .Values.terminationGracePeriodSeconds | default $least | int -}}
{{- if lt $wanted ($least | int) -}}
{{- fail (printf "terminationGracePeriodSeconds: %d is less than the worker's drain_timeout (%s) and 40 seconds: Kubernetes would kill it while it drains" $wanted $drain) -}}
{{- end -}}
{{- $wanted -}}
{{- end -}}

{{/* More processes than partitions stand idle. */}}
{{- define "workers.maximum" -}}
{{- div (.Values.partitions | int) (.Values.keda.partitionsPerReplica | int) | max 1 -}}
{{- end -}}

{{- define "workers.checked" -}}
{{- $values := .Values -}}
{{- if not $values.topologyConfigMap -}}
{{- if not (hasKey ($values.topology.workers | default dict) $values.worker) -}}
{{- fail (printf "worker: the topology has no worker %q" $values.worker) -}}
{{- end -}}
{{- $declared := include "workers.declared" . | fromYaml -}}
{{- if and (eq $values.kind "StatefulSet") (not $declared.static_membership) -}}
{{- fail "kind: a StatefulSet is for workers with static_membership: true; else use a Deployment" -}}
{{- end -}}
{{- if and (eq $values.kind "Deployment") $declared.static_membership -}}
{{- fail "kind: with static_membership a pod needs a name that it keeps: StatefulSet" -}}
{{- end -}}
{{- end -}}
{{- if and $values.keda.enabled (eq $values.kind "StatefulSet") -}}
{{- fail "keda: a static member that is scaled away keeps its partitions, unread, until its session ends; scale StatefulSets by hand" -}}
{{- end -}}
{{- if and $values.keda.enabled (not $values.partitions) -}}
{{- fail "partitions: KEDA's maximum follows them; `workers plan --output helm` prints them" -}}
{{- end -}}
{{- if and $values.partitions (not $values.keda.enabled) (gt ($values.replicas | int) ($values.partitions | int)) -}}
{{- fail (printf "replicas: %d are more than the %d partitions of the input; the others would stand idle" ($values.replicas | int) ($values.partitions | int)) -}}
{{- end -}}
{{- if and $values.state.persistent (ne $values.kind "StatefulSet") -}}
{{- fail "state: a claim for each pod needs a StatefulSet" -}}
{{- end -}}
{{- end -}}
