{{/* A CronJob of a loop: what the loop says of its own, and what holds for all of them. */}}
{{- define "workers.feedback.cronjob" -}}
{{- $root := .root }}
{{- $args := .args }}
{{- $of := mergeOverwrite (deepCopy (omit $root.Values.feedback "loops" "lake" "models")) (deepCopy .loop) }}
---
apiVersion: batch/v1
kind: CronJob
metadata:
  name: {{ include "workers.feedback.name" (dict "root" $root "name" .name) }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "workers.feedback.labels" $root | nindent 4 }}
spec:
  schedule: {{ .schedule | quote }}
  timeZone: {{ $of.timeZone | quote }}
  suspend: {{ $of.suspend }}
  concurrencyPolicy: Forbid
  startingDeadlineSeconds: {{ $of.startingDeadlineSeconds | int }}
  successfulJobsHistoryLimit: {{ $of.successfulJobsHistoryLimit | int }}
  failedJobsHistoryLimit: {{ $of.failedJobsHistoryLimit | int }}
  jobTemplate:
    metadata:
      labels:
        {{- include "workers.feedback.labels" $root | nindent 8 }}
    spec:
      backoffLimit: {{ $of.backoffLimit | int }}
      activeDeadlineSeconds: {{ $of.activeDeadlineSeconds | int }}
      podFailurePolicy:
        rules:
          # A drained node is no failure.
          - action: Ignore
            onPodConditions:
              - {type: DisruptionTarget, status: "True"}
          # Usage, topology, contracts, models: the same again would end the same.
          - action: FailJob
            onExitCodes: {containerName: feedback, operator: In, values: [2, 3, 4, 5]}
      template:
        metadata:
          labels:
            {{- include "workers.feedback.labels" $root | nindent 12 }}
            {{- with $root.Values.podLabels }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
          {{- with $root.Values.podAnnotations }}
          annotations:
            {{- toYaml . | nindent 12 }}
          {{- end }}
        spec:
          restartPolicy: Never
          serviceAccountName: {{ include "workers.serviceAccount" $root }}
          automountServiceAccountToken: false
          enableServiceLinks: false
          # SIGTERM ends a run, which the next one takes up; one tree, or one file, is waited for.
          terminationGracePeriodSeconds: 60
          securityContext:
            {{- toYaml $root.Values.podSecurityContext | nindent 12 }}
          {{- with $root.Values.imagePullSecrets }}
          imagePullSecrets:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          {{- with $root.Values.priorityClassName }}
          priorityClassName: {{ . | quote }}
          {{- end }}
          {{- with $root.Values.nodeSelector }}
          nodeSelector:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          {{- with $root.Values.tolerations }}
          tolerations:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          {{- with $root.Values.affinity }}
          affinity:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          containers:
            - name: feedback
              image: {{ include "workers.image" $root | quote }}
              imagePullPolicy: {{ $root.Values.image.pullPolicy }}
              args:
                {{- toYaml $args | nindent 16 }}
              env:
                {{- include "workers.env" $root | nindent 16 }}
                {{- with $of.metricsEndpoint }}
                - {name: OTEL_EXPORTER_OTLP_METRICS_ENDPOINT, value: {{ . | quote }}}
                {{- end }}
              {{- with include "workers.secrets" ($of.existingSecrets | default $root.Values.existingSecrets) | trim }}
              envFrom:
                {{- . | nindent 16 }}
              {{- end }}
              resources:
                {{- toYaml $of.resources | nindent 16 }}
              securityContext:
                {{- toYaml $root.Values.securityContext | nindent 16 }}
              volumeMounts:
                {{- include "workers.mountsBut" (dict "root" $root "feedback" true) | nindent 16 }}
          volumes:
            {{- include "workers.volumes" (dict "root" $root "own" true "feedback" true) | nindent 12 }}
{{- end -}}
