{{/* What the schema cannot say. Each failure is one line that names the key. */}}
{{- define "derivfleet.checks" -}}
{{- $secret := .Values.existingSecret -}}
{{- if and .Values.simulator.enabled $secret -}}
{{- fail (printf "existingSecret: the simulator brings its own credentials; to trade on the account of %q set simulator.enabled to false" $secret) -}}
{{- end -}}
{{- if not (or .Values.simulator.enabled $secret) -}}
{{- fail "existingSecret: name a Secret with the keys token and app-id of your Deriv account, or set simulator.enabled to true" -}}
{{- end -}}
{{- if and (not .Values.simulator.enabled) (ne (.Values.clock.speed | toString) "1") -}}
{{- fail "clock.speed: an account's clock is the wall's; only the simulator runs at another speed" -}}
{{- end -}}
{{- if and .Values.simulator.enabled .Values.gateway.journal.postgres -}}
{{- fail "gateway.journal.postgres: what is played with the simulator stays on the volume; set simulator.enabled to false" -}}
{{- end -}}
{{- $keys := list -}}
{{- range .Values.accounts }}{{ $keys = append $keys (.key | default "demo") }}{{ end -}}
{{- $names := list -}}
{{- range $index, $bot := .Values.bots -}}
{{- if has $bot.name $names -}}
{{- fail (printf "bots[%d].name: the name %s is used twice" $index $bot.name) -}}
{{- end -}}
{{- $names = append $names $bot.name -}}
{{- if has $bot.name (list "operator" "metrics" "gateway") -}}
{{- fail (printf "bots[%d].name: %s is a name of the fleet itself" $index $bot.name) -}}
{{- end -}}
{{- $full := include "derivfleet.botName" (dict "context" $ "bot" $bot.name) -}}
{{- if gt (len $full) 63 -}}
{{- fail (printf "bots[%d].name: %s is longer than 63 characters; shorten it, or set fullnameOverride" $index $full) -}}
{{- end -}}
{{- if and $bot.account (not (has $bot.account $keys)) -}}
{{- fail (printf "bots[%d].account: %s has account %q, which is not in accounts (%s)" $index $bot.name $bot.account (join ", " $keys)) -}}
{{- end -}}
{{- $parameters := $bot.parameters | default dict -}}
{{- if eq $bot.strategy "moving_average" -}}
{{- $fast := dig "fast_ticks" 5 $parameters | int -}}
{{- $slow := dig "slow_ticks" 20 $parameters | int -}}
{{- if ge $fast $slow -}}
{{- fail (printf "bots[%d].parameters.fast_ticks: %s has %d, which must be less than slow_ticks %d" $index $bot.name $fast $slow) -}}
{{- end -}}
{{- else if eq $bot.strategy "digit_frequency" -}}
{{- $bet := printf "%s %d" (dig "side" "over" $parameters) (dig "barrier" 4 $parameters | int) -}}
{{- if has $bet (list "over 9" "under 0") -}}
{{- fail (printf "bots[%d].parameters.barrier: %s bets on %s, which can never win" $index $bot.name $bet) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{/* A namespace has a default account, so what is not found with it in sight is not there. */}}
{{- if and $secret (lookup "v1" "ServiceAccount" .Release.Namespace "default") -}}
{{- $create := printf "kubectl -n %s create secret generic %s --from-literal=token=… --from-literal=app-id=…" .Release.Namespace $secret -}}
{{- $found := lookup "v1" "Secret" .Release.Namespace $secret -}}
{{- if not $found -}}
{{- fail (printf "existingSecret: there is no Secret %q in namespace %s; make it: %s" $secret .Release.Namespace $create) -}}
{{- end -}}
{{- range list "token" "app-id" -}}
{{- if not (dig "data" . "" $found) -}}
{{- fail (printf "existingSecret: the Secret %q has no key %s; make it again: %s" $secret . $create) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}
