{{/* What all names of this release begin with. 40 characters leave room for what follows. */}}
{{- define "derivfleet.fullname" -}}
{{- default .Release.Name .Values.fullnameOverride | replace "." "-" | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{/* The name of one bot's objects: (dict "context" $ "bot" "over-4"). */}}
{{- define "derivfleet.botName" -}}
{{- printf "%s-bot-%s" (include "derivfleet.fullname" .context) .bot -}}
{{- end }}

{{/* The labels that select pods: (dict "context" $ "component" "gateway"), for a bot with "bot" "over-4". */}}
{{- define "derivfleet.selector" -}}
app.kubernetes.io/name: {{ .context.Chart.Name }}
app.kubernetes.io/instance: {{ .context.Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- with .bot }}
derivfleet/bot: {{ . }}
{{- end }}
{{- end }}

{{/* All labels of an object; same arguments. */}}
{{- define "derivfleet.labels" -}}
{{ include "derivfleet.selector" . }}
app.kubernetes.io/version: {{ .context.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .context.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .context.Chart.Name .context.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* The Secret that holds the credentials. */}}
{{- define "derivfleet.secretName" -}}
{{- default (printf "%s-simulator" (include "derivfleet.fullname" .)) .Values.existingSecret -}}
{{- end }}

{{/* An image: (dict "context" $ "service" "gateway"). */}}
{{- define "derivfleet.image" -}}
{{- $image := .context.Values.image -}}
{{- with $image.registry }}{{ . }}/{{ end -}}
{{ $image.repository }}/{{ .service }}:{{ default .context.Chart.AppVersion $image.tag }}
{{- end }}

{{/* Where gateway and bots send their traces. */}}
{{- define "derivfleet.otlpEndpoint" -}}
{{- printf "%s-metrics:7600" (include "derivfleet.fullname" .) -}}{{- with .Values.otlp.collector }},{{ . }}{{ end -}}
{{- end }}
