{{/* The fleet file; the services read the same model that `derivfleet up` reads. */}}
{{- define "derivfleet.fleet" -}}
{{- $name := default (.Release.Name | replace "." "-" | trunc 40 | trimSuffix "-") .Values.fleet -}}
{{- toYaml (dict "fleet" $name "time_zone" .Values.time_zone "accounts" .Values.accounts "bots" .Values.bots
      "alerts" .Values.alerts "supabase" .Values.supabase) }}
{{- end }}

{{/* What restarts gateway and metrics when it changes: all of the fleet but how many replicas there are. */}}
{{- define "derivfleet.fleetChecksum" -}}
{{- $bots := list -}}
{{- range .Values.bots }}{{ $bots = append $bots (omit . "replicas") }}{{ end -}}
{{- toYaml (dict "time_zone" .Values.time_zone "accounts" .Values.accounts "bots" $bots) | sha256sum -}}
{{- end }}

{{/*
The clock that all services share. Fleet time begins at the first install, so that instant is kept. At the wall's speed
there is no such instant, and the text is the same whenever it is rendered.
*/}}
{{- define "derivfleet.clock" -}}
SPEED: {{ .Values.clock.speed | toString | quote }}
{{- if ne (.Values.clock.speed | toString) "1" }}
{{- $old := lookup "v1" "ConfigMap" .Release.Namespace (printf "%s-clock" (include "derivfleet.fullname" .)) }}
DERIVFLEET_CLOCK_ORIGIN_NS: {{ dig "data" "DERIVFLEET_CLOCK_ORIGIN_NS" (printf "%s000000000" (now | unixEpoch)) $old | quote }}
{{- end }}
{{- end }}

{{/*
How many replicas a bot's Deployment asks for: (dict "context" $ "bot" BOT). Who scaled it by hand keeps that, until the
value in `bots` changes.
*/}}
{{- define "derivfleet.replicas" -}}
{{- $wanted := .bot.replicas | default 1 | int -}}
{{- $name := include "derivfleet.botName" (dict "context" .context "bot" .bot.name) -}}
{{- $old := lookup "apps/v1" "Deployment" .context.Release.Namespace $name -}}
{{- if eq (dig "metadata" "annotations" "derivfleet/replicas" "" $old) ($wanted | toString) -}}
{{- dig "spec" "replicas" $wanted $old -}}
{{- else -}}
{{- $wanted -}}
{{- end -}}
{{- end }}
