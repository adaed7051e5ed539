{{- define "slimbayes.name" -}}
{{- default .Chart.Name .Values.nameOverride -}}
{{- end -}}

{{/* Room for suffixes, no dots, and a letter first: what the name of a Service must be. */}}
{{- define "slimbayes.fullname" -}}
{{- $name := include "slimbayes.name" . -}}
{{- $full := .Values.fullnameOverride -}}
{{- if not $full -}}
{{- $full = ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- end -}}
{{- $full = $full | replace "." "-" -}}
{{- if not (regexMatch "^[a-z]" $full) -}}
{{- $full = printf "%s-%s" $name $full -}}
{{- end -}}
{{- $full | trunc 48 | trimSuffix "-" -}}
{{- end -}}

{{- define "slimbayes.selector" -}}
app.kubernetes.io/name: {{ include "slimbayes.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | trunc 63 | quote }}
{{- end -}}

{{- define "slimbayes.labels" -}}
{{ include "slimbayes.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "slimbayes.podLabels" -}}
{{- merge (include "slimbayes.selector" . | fromYaml) .Values.podLabels | toYaml -}}
{{- end -}}

{{- define "slimbayes.podAnnotations" -}}
{{- $annotations := deepCopy .Values.podAnnotations -}}
{{- with .Values.store.credentials.variables -}}
{{- /* Variables are read once: other ones are other pods. Keys are read again when they change. */ -}}
{{- $_ := set $annotations "checksum/store" (toJson . | sha256sum) -}}
{{- end -}}
{{- with $annotations }}{{ toYaml . }}{{ end -}}
{{- end -}}

{{- define "slimbayes.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ printf "%s@%s" .repository .digest }}
{{- else -}}
{{ printf "%s:%s" .repository (default $.Chart.AppVersion .tag) }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "slimbayes.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (include "slimbayes.fullname" .) .Values.serviceAccount.name }}
{{- else -}}
{{ default "default" .Values.serviceAccount.name }}
{{- end -}}
{{- end -}}

{{/* Names of what may be made here or elsewhere; empty where there is none. */}}
{{- define "slimbayes.claim" -}}
{{- with .Values.store.volume -}}
{{ .existingClaim | default (ternary (printf "%s-store" (include "slimbayes.fullname" $)) "" (ne .size "")) }}
{{- end -}}
{{- end -}}

{{- define "slimbayes.credentials" -}}
{{- with .Values.store.credentials -}}
{{ .existingSecret | default (ternary (printf "%s-store" (include "slimbayes.fullname" $)) "" (gt (len .variables) 0)) }}
{{- end -}}
{{- end -}}

{{- define "slimbayes.keys" -}}
{{- with .Values.keys -}}
{{ .existingSecret | default (ternary (printf "%s-keys" (include "slimbayes.fullname" $)) "" (gt (len .lines) 0)) }}
{{- end -}}
{{- end -}}

{{/* Whether the store is at a URL: "true", or nothing. */}}
{{- define "slimbayes.remote" -}}
{{- if contains "://" .Values.store.url }}true{{ end -}}
{{- end -}}
