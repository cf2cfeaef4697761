package tap

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// The event as it goes to the topic; event.md says what the fields mean.
type event struct {
	Schema  string            `json:"schema"`
	ID      string            `json:"id"`
	Time    string            `json:"time"`
	Seq     uint64            `json:"seq"`
	Type    string            `json:"type"`
	Outcome string            `json:"outcome"`
	Reason  string            `json:"reason,omitempty"`
	Tenant  string            `json:"tenant,omitempty"`
	Env     string            `json:"env,omitempty"`
	Server  serverFields      `json:"server"`
	Actor   actorFields       `json:"actor"`
	Client  *clientFields     `json:"client,omitempty"`
	MCP     *mcpFields        `json:"mcp,omitempty"`
	Perm    *permFields       `json:"perm,omitempty"`
	IO      *ioFields         `json:"io,omitempty"`
	Src     srcFields         `json:"src"`
	Labels  map[string]string `json:"labels,omitempty"`

	at time.Time
}

type serverFields struct {
	Name      string `json:"name"`
	Version   string `json:"version,omitempty"`
	Instance  string `json:"instance"`
	Transport string `json:"transport"`
}

type actorFields struct {
	ClientID   string `json:"client_id"`
	AuthMethod string `json:"auth_method"`
}

type clientFields struct {
	Name    string `json:"name,omitempty"`
	Version string `json:"version,omitempty"`
}

type mcpFields struct {
	Method          string `json:"method,omitempty"`
	ProtocolVersion string `json:"protocol_version,omitempty"`
	RequestID       string `json:"request_id,omitempty"`
	Tool            string `json:"tool,omitempty"`
	Prompt          string `json:"prompt,omitempty"`
	Resource        string `json:"resource,omitempty"`
	DefinitionHash  string `json:"definition_hash,omitempty"`
	IsError         *bool  `json:"is_error,omitempty"`
	ErrorCode       *int64 `json:"error_code,omitempty"`
	ResultType      string `json:"result_type,omitempty"`
	CacheScope      string `json:"cache_scope,omitempty"`
}

type permFields struct {
	Resource string `json:"resource,omitempty"`
	Action   string `json:"action,omitempty"`
	Source   string `json:"source"`
}

type ioFields struct {
	Args         json.RawMessage `json:"args,omitempty"`
	ArgsDigest   string          `json:"args_digest,omitempty"`
	ArgsBytes    *int64          `json:"args_bytes,omitempty"`
	ArgsDepth    *int            `json:"args_depth,omitempty"`
	Result       json.RawMessage `json:"result,omitempty"`
	ResultDigest string          `json:"result_digest,omitempty"`
	ResultBytes  *int64          `json:"result_bytes,omitempty"`
	Truncated    bool            `json:"truncated,omitempty"`
	DurationMS   *float64        `json:"duration_ms,omitempty"`
}

type srcFields struct {
	Format   string `json:"format"`
	Producer string `json:"producer"`
}

// Longest forms of self-reported names; the schema has no limit, storage does.
const (
	maxName = 256
	maxURI  = 2048
)

func (e *event) label(key, value string) {
	if e.Labels == nil {
		e.Labels = map[string]string{}
	}
	e.Labels[key] = clip(value, 250)
}

// encode gives the record; an event that cannot be encoded is a defect of the tap and is counted as dropped.
func (e *event) encode() ([]byte, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("make event id: %w", err)
	}
	e.Schema, e.ID = "picket.event/1", id.String()
	e.Time = e.at.UTC().Format("2006-01-02T15:04:05.000Z07:00")
	e.Src = srcFields{Format: "native", Producer: "picket-tap"}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return nil, fmt.Errorf("encode %s event: %w", e.Type, err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte{'\n'}), nil
}

func ptr[T any](v T) *T { return &v }
