{{/* A value as the service reads it: lists with commas, whole numbers without an exponent. */}}
{{- define "slimbayes.setting" -}}
{{- if kindIs "slice" . -}}
{{ join "," . }}
{{- else if and (kindIs "float64" .) (eq (floor .) .) -}}
{{ int64 . }}
{{- else -}}
{{ . }}
{{- end -}}
{{- end -}}

{{- define "slimbayes.environment" -}}
- name: SLIMBAYES_STORE
  value: {{ .Values.store.url | quote }}
{{- if include "slimbayes.remote" . }}
- name: SLIMBAYES_CACHE
  value: /cache
{{- end }}
- name: SLIMBAYES_DRAIN_SECONDS
  value: {{ include "slimbayes.setting" .Values.drainSeconds | quote }}
{{- if include "slimbayes.keys" . }}
- name: SLIMBAYES_KEYS_FILE
  value: /etc/slimbayes/keys/keys
{{- end }}
{{- if .Values.tls.existingSecret }}
- name: SLIMBAYES_TLS_CERT
  value: /etc/slimbayes/tls/tls.crt
- name: SLIMBAYES_TLS_KEY
  value: /etc/slimbayes/tls/tls.key
{{- end }}
{{- range $name, $value := .Values.settings }}
- name: SLIMBAYES_{{ upper $name }}
  value: {{ include "slimbayes.setting" $value | quote }}
{{- end }}
{{- range $name, $value := .Values.store.environment }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end -}}

{{- define "slimbayes.probe" -}}
httpGet:
  path: {{ .path }}
  port: {{ .port }}
  scheme: {{ ternary "HTTPS" "HTTP" (ne .root.Values.tls.existingSecret "") }}
timeoutSeconds: 3
{{- end -}}

{{/* What runs: the pod of the Deployment, and that of the InferenceService. Takes root, container, port and environment. */}}
{{- define "slimbayes.podSpec" -}}
{{- $root := .root -}}
{{- with .root.Values -}}
serviceAccountName: {{ include "slimbayes.serviceAccount" $root | quote }}
automountServiceAccountToken: false
# Else a Service named slimbayes would put variables SLIMBAYES_… of its own into the pods, which the service refuses.
enableServiceLinks: false
# Requests are taken for SLIMBAYES_DRAIN_SECONDS, then those that were accepted are finished: no preStop hook has to wait.
terminationGracePeriodSeconds: {{ add (ceil .drainSeconds) (ceil (divf (default 1000 .settings.max_wait_ms) 1000)) 20 }}
{{- with .image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . | quote }}
{{- end }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
topologySpreadConstraints:
{{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: {{ $root.Values.topologySpread }}
    labelSelector:
      matchLabels:
        {{- include "slimbayes.selector" $root | nindent 8 }}
    # Pods of the version before do not count.
    matchLabelKeys: [pod-template-hash]
{{- end }}
containers:
  - name: {{ $.container }}
    image: {{ include "slimbayes.image" $root | quote }}
    imagePullPolicy: {{ .image.pullPolicy }}
    env:
      {{- with $.environment }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
      {{- include "slimbayes.environment" $root | nindent 6 }}
    {{- with include "slimbayes.credentials" $root }}
    envFrom:
      - secretRef:
          name: {{ . | quote }}
    {{- end }}
    ports:
      - name: {{ $.port }}
        containerPort: 8000
        protocol: TCP
    startupProbe:
      {{- include "slimbayes.probe" (dict "root" $root "path" "/readyz" "port" $.port) | nindent 6 }}
      periodSeconds: 2
      failureThreshold: {{ max 1 (ceil (divf .startupSeconds 2)) }}
    readinessProbe:
      {{- include "slimbayes.probe" (dict "root" $root "path" "/readyz" "port" $.port) | nindent 6 }}
      periodSeconds: 5
      failureThreshold: 2
    livenessProbe:
      {{- include "slimbayes.probe" (dict "root" $root "path" "/livez" "port" $.port) | nindent 6 }}
      periodSeconds: 10
      failureThreshold: 3
    resources:
      requests:
        cpu: {{ .resources.cpu | quote }}
        memory: {{ .resources.memory }}
      limits:
        cpu: {{ .resources.cpu | quote }}
        memory: {{ .resources.memory }}
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities:
        drop: [ALL]
    volumeMounts:
      - name: tmp
        mountPath: /tmp
      {{- if include "slimbayes.remote" $root }}
      - name: cache
        mountPath: /cache
      {{- end }}
      {{- if include "slimbayes.claim" $root }}
      - name: store
        mountPath: /store
        readOnly: true
      {{- end }}
      {{- if include "slimbayes.keys" $root }}
      - name: keys
        mountPath: /etc/slimbayes/keys
        readOnly: true
      {{- end }}
      {{- if .tls.existingSecret }}
      - name: tls
        mountPath: /etc/slimbayes/tls
        readOnly: true
      {{- end }}
volumes:
  - name: tmp
    emptyDir:
      sizeLimit: 256Mi
  {{- if include "slimbayes.remote" $root }}
  - name: cache
    {{- if .cache.storageClassName }}
    ephemeral:
      volumeClaimTemplate:
        spec:
          accessModes: [ReadWriteOnce]
          storageClassName: {{ .cache.storageClassName | quote }}
          resources:
            requests:
              storage: {{ .cache.size }}
    {{- else }}
    emptyDir:
      sizeLimit: {{ .cache.size }}
    {{- end }}
  {{- end }}
  {{- with include "slimbayes.claim" $root }}
  - name: store
    persistentVolumeClaim:
      claimName: {{ . | quote }}
      readOnly: true
  {{- end }}
  {{- with include "slimbayes.keys" $root }}
  - name: keys
    secret:
      secretName: {{ . | quote }}
      defaultMode: 0440
  {{- end }}
  {{- with .tls.existingSecret }}
  - name: tls
    secret:
      secretName: {{ . | quote }}
      defaultMode: 0440
  {{- end }}
{{- end -}}
{{- end -}}
