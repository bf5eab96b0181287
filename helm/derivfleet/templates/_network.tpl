{{/* Pods of this release: (dict "context" $ "components" (list "bot" "metrics")). */}}
{{- define "derivfleet.peer" -}}
podSelector:
  matchLabels:
    {{- include "derivfleet.selector" (dict "context" .context) | nindent 4 }}
  matchExpressions:
    - {key: app.kubernetes.io/component, operator: In, values: [{{ join ", " .components }}]}
{{- end }}

{{/* The API server: where it may be, and where it is now if the cluster can be asked. */}}
{{- define "derivfleet.apiServerEgress" -}}
{{- with .Values.networkPolicy.apiServerCidrs }}
- ports: [{port: 443}, {port: 6443}]
  to:
    {{- range . }}
    - ipBlock: {cidr: {{ . | quote }}}
    {{- end }}
{{- end }}
{{- $slice := lookup "discovery.k8s.io/v1" "EndpointSlice" "default" "kubernetes" }}
{{- with $slice }}
- ports:
    {{- range .ports }}
    - {port: {{ .port }}}
    {{- end }}
  to:
    {{- range .endpoints }}
    {{- range .addresses }}
    - ipBlock: {cidr: {{ printf "%s/%s" . (contains ":" . | ternary "128" "32") | quote }}}
    {{- end }}
    {{- end }}
{{- end }}
{{- end }}
