package store

import (
	"math"

	"picket/detect"
)

// kind says how the public form of a field is stored.
type kind uint8

const (
	dropped   kind = iota // never stored: matched in memory only
	lowText               // LowCardinality(String): values repeat
	plainText             // String: nearly every row has its own
	pathText              // reduced form, and its pseudonym in <column>_hash
	enumText              // Enum8
	lowList               // Array(LowCardinality(String))
	uint16Num             // Nullable integers: a missing number is NULL, not 0
	uint32Num             //
	uint64Num             //
	int32Num              //
	int64Num              //
	floatNum              //
	boolFlag              // absent is false
)

// eventField says where a field is stored.
type eventField struct {
	column string
	kind   kind
}

// eventFields is the mapping of every field; a test compares it with the fields and
// with the table. A column is the field's name with _ for the dot.
var eventFields = [detect.NumFields]eventField{
	detect.Schema:          {"schema", lowText},
	detect.ID:              {"id", plainText},
	detect.Type:            {"type", lowText},
	detect.Outcome:         {"outcome", enumText},
	detect.Reason:          {"reason", lowText},
	detect.Severity:        {"severity", enumText},
	detect.Tenant:          {"tenant", lowText},
	detect.Env:             {"env", lowText},
	detect.ServerName:      {"server_name", lowText},
	detect.ServerVersion:   {"server_version", lowText},
	detect.ServerInstance:  {"server_instance", lowText},
	detect.ServerAddress:   {"server_address", lowText},
	detect.ServerTransport: {"server_transport", lowText},
	detect.ActorSubject:    {"actor_subject", lowText},
	detect.ActorClientID:   {"actor_client_id", lowText},
	detect.ActorToken:      {"actor_token", lowText},
	detect.ActorIssuer:     {"actor_issuer", lowText},
	detect.ActorAuthMethod: {"actor_auth_method", lowText},
	detect.ClientName:      {"client_name", lowText},
	detect.ClientVersion:   {"client_version", lowText},
	detect.ClientUserAgent: {"client_user_agent", lowText},
	detect.NetIP:           {"net_ip", lowText},
	detect.NetIPPrefix:     {"net_ip_prefix", lowText},
	detect.NetIPClass:      {"net_ip_class", lowText},
	detect.NetCountry:      {"net_country", lowText},
	detect.NetTLS:          {"net_tls", lowText},
	detect.NetOrigin:       {"net_origin", lowText},
	detect.NetHost:         {"net_host", lowText},

	detect.MCPMethod:          {"mcp_method", lowText},
	detect.MCPProtocolVersion: {"mcp_protocol_version", lowText},
	detect.MCPRequestID:       {"mcp_request_id", plainText},
	detect.MCPTool:            {"mcp_tool", lowText},
	detect.MCPPrompt:          {"mcp_prompt", lowText},
	detect.MCPResource:        {"mcp_resource", pathText},
	detect.MCPSession:         {"mcp_session", lowText},
	detect.MCPHandle:          {"mcp_handle", lowText},
	detect.MCPDefinitionHash:  {"mcp_definition_hash", lowText},
	detect.MCPResultType:      {"mcp_result_type", lowText},
	detect.MCPCacheScope:      {"mcp_cache_scope", lowText},

	detect.HTTPPath:                 {"http_path", pathText},
	detect.HTTPWWWAuthenticateError: {"http_www_authenticate_error", lowText},

	detect.PermResource: {"perm_resource", pathText},
	detect.PermAction:   {"perm_action", lowText},
	detect.PermPolicy:   {"perm_policy", lowText},
	detect.PermSource:   {"perm_source", lowText},

	detect.IOArgsDigest:   {"io_args_digest", plainText},
	detect.IOResultDigest: {"io_result_digest", plainText},
	detect.LimitName:      {"limit_name", lowText},
	detect.TraceID:        {"trace_id", plainText},
	detect.SpanID:         {"span_id", plainText},
	detect.SrcFormat:      {"src_format", lowText},
	detect.SrcProducer:    {"src_producer", lowText},

	detect.ActorAudience:   {"actor_audience", lowList},
	detect.ActorScopes:     {"actor_scopes", lowList},
	detect.ActorRoles:      {"actor_roles", lowList},
	detect.ActorDelegation: {"actor_delegation", lowList},
	detect.PermRequired:    {"perm_required", lowList},
	detect.IOEgressHosts:   {"io_egress_hosts", lowList},
	detect.IOArgs:          {kind: dropped},
	detect.IOResult:        {kind: dropped},

	detect.Seq:           {"seq", uint64Num},
	detect.ActorTokenExp: {"actor_token_exp", int64Num},
	detect.NetASN:        {"net_asn", uint32Num},
	detect.NetPort:       {"net_port", uint16Num},
	detect.MCPErrorCode:  {"mcp_error_code", int32Num},
	detect.HTTPStatus:    {"http_status", uint16Num},
	detect.IOArgsBytes:   {"io_args_bytes", uint64Num},
	detect.IOArgsDepth:   {"io_args_depth", uint16Num},
	detect.IOResultBytes: {"io_result_bytes", uint64Num},
	detect.IORows:        {"io_rows", uint64Num},
	detect.IODurationMS:  {"io_duration_ms", floatNum},
	detect.LimitLimit:    {"limit_limit", floatNum},
	detect.LimitWindowS:  {"limit_window_s", floatNum},
	detect.LimitObserved: {"limit_observed", floatNum},

	detect.ActorDelegationTruncated: {"actor_delegation_truncated", boolFlag},
	detect.NetXFFTrusted:            {"net_xff_trusted", boolFlag},
	detect.MCPIsError:               {"mcp_is_error", boolFlag},
	detect.IOTruncated:              {"io_truncated", boolFlag},
	detect.SrcLoop:                  {"src_loop", boolFlag},
}

const (
	outcomeType  = "Enum8('unknown' = 0, 'success' = 1, 'failure' = 2, 'denied' = 3, 'error' = 4)"
	kindType     = "Enum8('client' = 1, 'source' = 2, 'session' = 3)"
	severityType = "Enum8('' = 0, 'debug' = 1, 'info' = 2, 'low' = 3, 'medium' = 4, 'high' = 5, 'critical' = 6)"
)

func outcomeCode(v string) uint64 {
	switch v {
	case "success":
		return 1
	case "failure":
		return outcomeFailure
	case "denied":
		return outcomeDenied
	case "error":
		return outcomeError
	}
	return 0
}

// Codes of outcomes that roll-ups count.
const outcomeFailure, outcomeDenied, outcomeError = 2, 3, 4

func severityCode(v string) uint64 {
	switch v {
	case "debug":
		return 1
	case "info":
		return 2
	case "low":
		return 3
	case "medium":
		return 4
	case "high":
		return 5
	case "critical":
		return 6
	}
	return 0
}

// newNumber makes the column of a number field.
func newNumber(k kind) *nullable {
	switch k {
	case uint16Num:
		return newNullable(newFixed("UInt16", 2))
	case uint32Num:
		return newNullable(newFixed("UInt32", 4))
	case uint64Num:
		return newNullable(newFixed("UInt64", 8))
	case int32Num:
		return newNullable(newFixed("Int32", 4))
	case int64Num:
		return newNullable(newFixed("Int64", 8))
	}
	return newNullable(newFixed("Float64", 8))
}

// numberBits converts a number for its column. What does not fit takes the nearest
// value that does; fractions of integers are cut.
func numberBits(k kind, x float64) uint64 {
	switch k {
	case uint16Num:
		return uint64(clamp(x, 0, math.MaxUint16))
	case uint32Num:
		return uint64(clamp(x, 0, math.MaxUint32))
	case uint64Num:
		if x >= 1<<64 {
			return math.MaxUint64
		}
		return uint64(max(x, 0))
	case int32Num:
		return uint64(int64(clamp(x, math.MinInt32, math.MaxInt32)))
	case int64Num:
		if x >= 1<<63 {
			return math.MaxInt64
		}
		return uint64(int64(max(x, math.MinInt64)))
	}
	return math.Float64bits(x)
}

func clamp(x, lo, hi float64) float64 { return min(max(x, lo), hi) }
