{{/* The environment that every pod of a release has. */}}
{{- define "workers.env" -}}
- {name: HOME, value: {{ .Values.state.mountPath | quote }}}
- {name: XDG_STATE_HOME, value: {{ printf "%s/state" .Values.state.mountPath | quote }}}
- {name: XDG_CACHE_HOME, value: {{ printf "%s/cache" .Values.state.mountPath | quote }}}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "workers.envFrom" -}}
{{- include "workers.secrets" .Values.existingSecrets -}}
{{- end -}}

{{/* Of a list of Secrets. */}}
{{- define "workers.secrets" -}}
{{- range . }}
- secretRef: {name: {{ . | quote }}}
{{- end }}
{{- end -}}

{{- define "workers.mounts" -}}
{{- include "workers.mountsBut" (dict "root" . "feedback" false) -}}
{{- end -}}

{{/* `feedback`: models are its own, which it writes to, and there is a lake. */}}
{{- define "workers.mountsBut" -}}
{{- $feedback := .feedback }}
{{- with .root -}}
- {name: topology, mountPath: /etc/workers/topology.yaml, subPath: topology.yaml, readOnly: true}
- {name: state, mountPath: {{ .Values.state.mountPath | quote }}}
- {name: tmp, mountPath: /tmp}
{{- if .Values.contracts.volume }}
- {name: contracts, mountPath: {{ .Values.contracts.mountPath | quote }}, readOnly: true}
{{- end }}
{{- if and $feedback .Values.feedback.models.volume }}
- {name: models, mountPath: {{ .Values.models.mountPath | quote }}}
{{- else if .Values.models.volume }}
- {name: models, mountPath: {{ .Values.models.mountPath | quote }}, readOnly: true}
{{- end }}
{{- if and $feedback .Values.feedback.lake.volume }}
- {name: lake, mountPath: {{ .Values.feedback.lake.mountPath | quote }}}
{{- end }}
{{- range $place, $file := .Values.secretFiles }}
- {name: secret-{{ $place }}, mountPath: {{ $file.mountPath | quote }}, readOnly: true}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}
{{- end -}}

{{/* `own`: state is an emptyDir, and not a claim of a StatefulSet. `feedback`: as of the mounts. */}}
{{- define "workers.volumes" -}}
- name: topology
  configMap: {name: {{ include "workers.configMap" .root | quote }}}
- {name: tmp, emptyDir: {}}
{{- if .own }}
- name: state
  emptyDir: {sizeLimit: {{ .root.Values.state.size | quote }}}
{{- end }}
{{- with .root.Values.contracts.volume }}
- name: contracts
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- $models := .root.Values.models.volume }}
{{- if .feedback }}
{{- $models = .root.Values.feedback.models.volume | default $models }}
{{- with .root.Values.feedback.lake.volume }}
- name: lake
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- with $models }}
- name: models
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- range $place, $file := .root.Values.secretFiles }}
- name: secret-{{ $place }}
  secret: {secretName: {{ $file.secret | quote }}, defaultMode: 288}
{{- end }}
{{- with .root.Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "workers.pod" -}}
metadata:
  labels:
    {{- include "workers.labels" . | nindent 4 }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    kubectl.kubernetes.io/default-container: worker
    {{- if not .Values.topologyConfigMap }}
    checksum/topology: {{ include "workers.topology" . | sha256sum }}
    {{- end }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "workers.serviceAccount" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ include "workers.grace" . }}
  securityContext:
    {{- toYaml .Values.podSecurityContext | nindent 4 }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . | quote }}
  {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- range . }}
    - {{- toYaml . | nindent 6 }}
      labelSelector:
        matchLabels:
          {{- include "workers.selector" $ | nindent 10 }}
    {{- end }}
  {{- end }}
  containers:
    - name: worker
      image: {{ include "workers.image" . | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [run, {{ .Values.worker | quote }}, --topology, /etc/workers/topology.yaml]
      env:
        {{- include "workers.env" . | nindent 8 }}
      {{- with include "workers.envFrom" . | trim }}
      envFrom:
        {{- . | nindent 8 }}
      {{- end }}
      ports:
        - {name: health, containerPort: {{ .Values.health.port }}, protocol: TCP}
      startupProbe:
        httpGet: {path: /livez, port: health}
        periodSeconds: 5
        failureThreshold: {{ div (.Values.probes.startupSeconds | int) 5 }}
      livenessProbe:
        httpGet: {path: /livez, port: health}
        {{- toYaml .Values.probes.liveness | nindent 8 }}
      readinessProbe:
        httpGet: {path: /readyz, port: health}
        {{- toYaml .Values.probes.readiness | nindent 8 }}
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      securityContext:
        {{- toYaml .Values.securityContext | nindent 8 }}
      volumeMounts:
        {{- include "workers.mounts" . | nindent 8 }}
  volumes:
    {{- $own := not .Values.state.persistent }}
    {{- include "workers.volumes" (dict "root" . "own" $own) | nindent 4 }}
{{- end -}}
