{{/* What every pod of the fleet says of itself; the argument is the root context. */}}
{{- define "derivfleet.pod" -}}
# The variables of service links begin like our settings, and unknown settings are refused.
enableServiceLinks: false
terminationGracePeriodSeconds: 15
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Where a Prometheus that goes by annotations finds a pod's figures; the argument is the port. */}}
{{- define "derivfleet.scraped" -}}
prometheus.io/scrape: "true"
prometheus.io/port: {{ . | quote }}
prometheus.io/path: /metrics
{{- end }}

{{/* The beginning of a container: (dict "context" $ "service" "gateway"). */}}
{{- define "derivfleet.container" -}}
image: {{ include "derivfleet.image" . }}
imagePullPolicy: {{ .context.Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
envFrom:
  - configMapRef: {name: {{ include "derivfleet.fullname" .context }}-clock}
{{- end }}

{{/* The volume with a service-account token that is of use at the fleet's own servers only. */}}
{{- define "derivfleet.tokenVolume" -}}
- name: token
  projected:
    sources:
      - serviceAccountToken:
          path: token
          audience: derivfleet-gateway
          expirationSeconds: 600
{{- end }}

{{- define "derivfleet.tokenMount" -}}
- name: token
  mountPath: /var/run/secrets/derivfleet
  readOnly: true
{{- end }}
