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
