{{- define "kreset.labels" -}}
app.kubernetes.io/name: kreset
{{- end }}

{{- /* The configuration file. */ -}}
{{- define "kreset.toml" -}}
port = {{ .Values.ports | toString | quote }}
{{- with .Values.settings }}
{{ toToml . | trim }}
{{- end }}
{{ range .Values.sinks }}
{{ regexReplaceAll "(?m)^  " (toToml (dict "sink" (list .)) | trim) "" }}
{{ end }}
[[sink]]
health = "127.0.0.1:{{ .Values.metrics.healthPort }}"
listen = "0.0.0.0:{{ .Values.metrics.port }}"
type = "prometheus"
{{- end }}
