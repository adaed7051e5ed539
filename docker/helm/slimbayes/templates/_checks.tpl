{{/* Values that contradict each other, which a schema cannot say. */}}
{{- define "slimbayes.checks" -}}
{{- $v := .Values -}}
{{- if and $v.store.volume.existingClaim $v.store.volume.size -}}
{{- fail "store.volume: existingClaim names a claim and size makes one: set one of them" -}}
{{- end -}}
{{- if and (include "slimbayes.claim" .) (not (regexMatch "^/store(/|$)" $v.store.url)) -}}
{{- fail (printf "store.volume is mounted at /store, but store.url is %s: set store.url to /store" $v.store.url) -}}
{{- end -}}
{{- if and $v.store.credentials.existingSecret $v.store.credentials.variables -}}
{{- fail "store.credentials: existingSecret names a Secret and variables make one: set one of them" -}}
{{- end -}}
{{- if and $v.keys.existingSecret $v.keys.lines -}}
{{- fail "keys: existingSecret names a Secret and lines make one: set one of them" -}}
{{- end -}}
{{- if and $v.settings.metrics_key (not (include "slimbayes.keys" .)) -}}
{{- fail "settings.metrics_key asks for a key, but there are none: set keys too" -}}
{{- end -}}
{{- if and $v.settings.metrics_key $v.monitoring.serviceMonitor (not $v.monitoring.keySecret.name) -}}
{{- fail "settings.metrics_key keeps Prometheus out: set monitoring.keySecret too" -}}
{{- end -}}
{{- if gt (int $v.autoscaling.minReplicas) (int $v.autoscaling.maxReplicas) -}}
{{- fail "autoscaling: minReplicas is more than maxReplicas" -}}
{{- end -}}
{{- if and $v.kserve.enabled $v.ingress.enabled -}}
{{- fail "ingress: KServe makes its own; set one of ingress.enabled and kserve.enabled" -}}
{{- end -}}
{{- if and $v.kserve.enabled (gt (int $v.autoscaling.queueDraws) 0) -}}
{{- fail "autoscaling.queueDraws: KServe scales by CPU here; set it to 0" -}}
{{- end -}}
{{- end -}}
