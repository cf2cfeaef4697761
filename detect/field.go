package detect

// Field names one attribute of an Event. Constants are ordered by kind (text,
// list, number, flag), so that a value finds its place without a lookup.
type Field uint8

// Kind says which values a field holds.
type Kind uint8

const (
	Text   Kind = iota // one string
	List               // several strings
	Number             // float64
	Flag               // boolean
)

// Privacy says what may leave the process of a field's value.
type Privacy uint8

const (
	// Plain values come from a closed set or are identifiers of machines; they are stored as they
	// are when they look like an identifier, and as a pseudonym when they do not.
	Plain Privacy = iota
	// Pseudo values name a person or something of theirs: only the keyed pseudonym leaves.
	Pseudo
	// Path values are reduced to scheme, depth and extension, with a pseudonym for equality.
	Path
	// Free values are self-reported text: kept when nothing in them looks personal or secret,
	// a pseudonym otherwise.
	Free
	// Dropped values are matched in memory and never leave.
	Dropped
)

const (
	Schema Field = iota
	ID
	Type
	Outcome
	Reason
	Severity
	Tenant
	Env
	ServerName
	ServerVersion
	ServerInstance
	ServerAddress
	ServerTransport
	ActorSubject
	ActorClientID
	ActorToken
	ActorIssuer
	ActorAuthMethod
	ClientName
	ClientVersion
	ClientUserAgent
	NetIP
	NetIPPrefix
	NetIPClass
	NetCountry
	NetTLS
	NetOrigin
	NetHost
	MCPMethod
	MCPProtocolVersion
	MCPRequestID
	MCPTool
	MCPPrompt
	MCPResource
	MCPSession
	MCPHandle
	MCPDefinitionHash
	MCPResultType
	MCPCacheScope
	HTTPPath
	HTTPWWWAuthenticateError
	PermResource
	PermAction
	PermPolicy
	PermSource
	IOArgsDigest
	IOResultDigest
	LimitName
	TraceID
	SpanID
	SrcFormat
	SrcProducer

	ActorAudience
	ActorScopes
	ActorRoles
	ActorDelegation
	PermRequired
	IOEgressHosts
	IOArgs
	IOResult

	Seq
	ActorTokenExp
	NetASN
	NetPort
	MCPErrorCode
	HTTPStatus
	IOArgsBytes
	IOArgsDepth
	IOResultBytes
	IORows
	IODurationMS
	LimitLimit
	LimitWindowS
	LimitObserved

	ActorDelegationTruncated
	NetXFFTrusted
	MCPIsError
	IOTruncated
	SrcLoop

	NumFields

	firstList   = ActorAudience
	firstNumber = Seq
	firstFlag   = ActorDelegationTruncated
)

// FieldInfo describes a field.
type FieldInfo struct {
	Name    string // as rules and JSON paths write it: "net.ip"
	Privacy Privacy
	Enum    []string // the closed set of values, or nil
	MaxLen  int      // characters of one string; 0 means the default of 512
}

var (
	enumType = []string{
		"authentication", "authorization", "token", "tool_call", "resource_read", "prompt_get", "discovery",
		"tool_definition", "elicitation", "rate_limit", "config", "error", "suspicious_activity", "heartbeat",
	}
	enumOutcome  = []string{"success", "failure", "denied", "error", "unknown"}
	enumSeverity = []string{"debug", "info", "low", "medium", "high", "critical"}
)

var fieldInfo = [NumFields]FieldInfo{
	Schema:          {Name: "schema", Enum: []string{"picket.event/1"}},
	ID:              {Name: "id", MaxLen: 128},
	Type:            {Name: "type", Enum: enumType},
	Outcome:         {Name: "outcome", Enum: enumOutcome},
	Reason:          {Name: "reason", MaxLen: 64},
	Severity:        {Name: "severity", Enum: enumSeverity},
	Tenant:          {Name: "tenant", MaxLen: 128},
	Env:             {Name: "env", MaxLen: 128},
	ServerName:      {Name: "server.name", MaxLen: 256},
	ServerVersion:   {Name: "server.version", MaxLen: 256},
	ServerInstance:  {Name: "server.instance", MaxLen: 256},
	ServerAddress:   {Name: "server.address", MaxLen: 256},
	ServerTransport: {Name: "server.transport", Enum: []string{"stdio", "http", "sse", "other"}},
	ActorSubject:    {Name: "actor.subject", Privacy: Pseudo},
	ActorClientID:   {Name: "actor.client_id", Privacy: Pseudo},
	ActorToken:      {Name: "actor.token", Privacy: Pseudo},
	ActorIssuer:     {Name: "actor.issuer", Privacy: Free},
	ActorAuthMethod: {Name: "actor.auth_method", Enum: []string{"none", "bearer", "oauth", "api_key", "mtls", "basic", "env", "other"}},
	ClientName:      {Name: "client.name", Privacy: Free},
	ClientVersion:   {Name: "client.version", Privacy: Free},
	ClientUserAgent: {Name: "client.user_agent", Privacy: Free},
	NetIP:           {Name: "net.ip", Privacy: Pseudo},
	NetIPPrefix:     {Name: "net.ip_prefix"},
	NetIPClass:      {Name: "net.ip_class", Enum: []string{"public", "private", "loopback", "link_local", "unknown"}},
	NetCountry:      {Name: "net.country", MaxLen: 64},
	NetTLS:          {Name: "net.tls", MaxLen: 64},
	NetOrigin:       {Name: "net.origin", Privacy: Free},
	NetHost:         {Name: "net.host", Privacy: Free},

	MCPMethod:          {Name: "mcp.method", MaxLen: 128},
	MCPProtocolVersion: {Name: "mcp.protocol_version", MaxLen: 64},
	MCPRequestID:       {Name: "mcp.request_id", Privacy: Free},
	MCPTool:            {Name: "mcp.tool", MaxLen: 256},
	MCPPrompt:          {Name: "mcp.prompt", MaxLen: 256},
	MCPResource:        {Name: "mcp.resource", Privacy: Path, MaxLen: 4096},
	MCPSession:         {Name: "mcp.session", Privacy: Pseudo},
	MCPHandle:          {Name: "mcp.handle", Privacy: Pseudo},
	MCPDefinitionHash:  {Name: "mcp.definition_hash", MaxLen: 128},
	MCPResultType:      {Name: "mcp.result_type", MaxLen: 64},
	MCPCacheScope:      {Name: "mcp.cache_scope", Enum: []string{"public", "private"}},

	HTTPPath:                 {Name: "http.path", Privacy: Path, MaxLen: 4096},
	HTTPWWWAuthenticateError: {Name: "http.www_authenticate_error", MaxLen: 128},

	PermResource: {Name: "perm.resource", Privacy: Path, MaxLen: 4096},
	PermAction:   {Name: "perm.action", MaxLen: 256},
	PermPolicy:   {Name: "perm.policy", MaxLen: 256},
	PermSource:   {Name: "perm.source", Enum: []string{"gateway", "server", "tool_text", "unknown"}},

	IOArgsDigest:   {Name: "io.args_digest", Privacy: Pseudo, MaxLen: 256},
	IOResultDigest: {Name: "io.result_digest", Privacy: Pseudo, MaxLen: 256},
	LimitName:      {Name: "limit.name", MaxLen: 128},
	TraceID:        {Name: "trace.trace_id", MaxLen: 32},
	SpanID:         {Name: "trace.span_id", MaxLen: 16},
	SrcFormat: {Name: "src.format", Enum: []string{
		"native", "security-logger", "toolhive", "otlp-log", "otlp-span",
		"ocsf", "ecs", "agentgateway", "kuadrant", "contextforge", "kong", "cloudevents",
	}},
	SrcProducer: {Name: "src.producer", MaxLen: 256},

	ActorAudience:   {Name: "actor.audience", Privacy: Free},
	ActorScopes:     {Name: "actor.scopes", MaxLen: 256},
	ActorRoles:      {Name: "actor.roles", MaxLen: 256},
	ActorDelegation: {Name: "actor.delegation", Privacy: Pseudo},
	PermRequired:    {Name: "perm.required", MaxLen: 256},
	IOEgressHosts:   {Name: "io.egress_hosts", Privacy: Free},
	IOArgs:          {Name: "io.args", Privacy: Dropped},
	IOResult:        {Name: "io.result", Privacy: Dropped},

	Seq:           {Name: "seq"},
	ActorTokenExp: {Name: "actor.token_exp"},
	NetASN:        {Name: "net.asn"},
	NetPort:       {Name: "net.port"},
	MCPErrorCode:  {Name: "mcp.error_code"},
	HTTPStatus:    {Name: "http.status"},
	IOArgsBytes:   {Name: "io.args_bytes"},
	IOArgsDepth:   {Name: "io.args_depth"},
	IOResultBytes: {Name: "io.result_bytes"},
	IORows:        {Name: "io.rows"},
	IODurationMS:  {Name: "io.duration_ms"},
	LimitLimit:    {Name: "limit.limit"},
	LimitWindowS:  {Name: "limit.window_s"},
	LimitObserved: {Name: "limit.observed"},

	ActorDelegationTruncated: {Name: "actor.delegation_truncated"},
	NetXFFTrusted:            {Name: "net.xff_trusted"},
	MCPIsError:               {Name: "mcp.is_error"},
	IOTruncated:              {Name: "io.truncated"},
	SrcLoop:                  {Name: "src.loop"},
}

var fieldsByName = func() map[string]Field {
	m := make(map[string]Field, NumFields)
	for f := range NumFields {
		m[fieldInfo[f].Name] = f
	}
	return m
}()

// FieldByName finds a field by the name that rules write.
func FieldByName(name string) (Field, bool) {
	f, ok := fieldsByName[name]
	return f, ok
}

// String returns the name that rules write.
func (f Field) String() string { return fieldInfo[f].Name }

// Info describes the field; callers do not change it.
func (f Field) Info() *FieldInfo { return &fieldInfo[f] }

// Kind returns which values the field holds.
func (f Field) Kind() Kind {
	switch {
	case f >= firstFlag:
		return Flag
	case f >= firstNumber:
		return Number
	case f >= firstList:
		return List
	}
	return Text
}

// Limit is the greatest length of one string of the field in characters.
func (i *FieldInfo) Limit() int {
	if i.MaxLen > 0 {
		return i.MaxLen
	}
	return 512
}
