package channeltest

import (
	"encoding/json"
	"fmt"
	"unicode/utf16"
)

// Slack's limits, as its documentation and its answers state them.
const (
	maxBlocks     = 50
	maxHeader     = 150
	maxSection    = 3000
	maxField      = 2000
	maxContext    = 10
	maxTextInSum  = 9600
	maxText       = 40000
	maxRichString = 3000
)

type node map[string]any

type checker struct {
	problems []string
	sum      int
}

// CheckMessage returns Slack's error code for a message, with its pointers to
// what is wrong, or "".
func CheckMessage(text string, blocks []byte) (code string, problems []string) {
	if units(text) > maxText {
		return "msg_too_long", nil
	}
	if len(blocks) == 0 {
		return "", nil
	}
	var list []node
	if err := json.Unmarshal(blocks, &list); err != nil {
		return "invalid_blocks_format", nil
	}
	var c checker
	if len(list) > maxBlocks {
		c.bad("/blocks", "no more than 50 items allowed")
	}
	for i, b := range list {
		c.block(fmt.Sprintf("/blocks/%d", i), b)
	}
	switch {
	case len(c.problems) > 0:
		return "invalid_blocks", c.problems
	case c.sum > maxTextInSum:
		return "msg_blocks_too_long", nil
	}
	return "", nil
}

func units(s string) int { return len(utf16.Encode([]rune(s))) }

func (c *checker) bad(at, format string, args ...any) {
	c.problems = append(c.problems, fmt.Sprintf(format, args...)+" [json-pointer:"+at+"]")
}

func (c *checker) block(at string, b node) {
	switch b["type"] {
	case "divider":
	case "header":
		c.textObject(at+"/text", b["text"], maxHeader, false)
	case "section":
		fields, _ := b["fields"].([]any)
		if b["text"] == nil && len(fields) == 0 {
			c.bad(at, "must provide text or fields")
		}
		if b["text"] != nil {
			c.textObject(at+"/text", b["text"], maxSection, true)
		}
		if len(fields) > 10 {
			c.bad(at+"/fields", "no more than 10 items allowed")
		}
		for i, f := range fields {
			c.textObject(fmt.Sprintf("%s/fields/%d", at, i), f, maxField, true)
		}
	case "context":
		els, _ := b["elements"].([]any)
		if len(els) == 0 || len(els) > maxContext {
			c.bad(at+"/elements", "must have 1 to 10 items")
		}
		for i, e := range els {
			c.textObject(fmt.Sprintf("%s/elements/%d", at, i), e, maxField, true)
		}
	case "rich_text":
		els, _ := b["elements"].([]any)
		if len(els) == 0 {
			c.bad(at+"/elements", "must have at least 1 item")
		}
		for i, e := range els {
			c.rich(fmt.Sprintf("%s/elements/%d", at, i), e, true)
		}
	default:
		c.bad(at+"/type", "unsupported type: %v", b["type"])
	}
}

func (c *checker) textObject(at string, v any, limit int, markup bool) {
	o, _ := v.(map[string]any)
	s, isString := o["text"].(string)
	switch {
	case o == nil || !isString:
		c.bad(at, "must be a text object")
		return
	case o["type"] != "plain_text" && (!markup || o["type"] != "mrkdwn"):
		c.bad(at+"/type", "must be one of: plain_text")
	case s == "":
		c.bad(at+"/text", "must be more than 0 characters")
	case units(s) > limit:
		c.bad(at+"/text", "must be less than %d characters", limit+1)
	}
	if o["type"] == "mrkdwn" && o["emoji"] != nil {
		c.bad(at+"/emoji", "not allowed with mrkdwn")
	}
	c.sum += units(s)
}

// rich checks a part of a rich_text block; lists hold sections, and stand at the top.
func (c *checker) rich(at string, v any, top bool) {
	o, _ := v.(map[string]any)
	els, _ := o["elements"].([]any)
	kind := o["type"]
	switch {
	case o == nil:
		c.bad(at, "must be an object")
		return
	case kind == "rich_text_list" && top:
		if s := o["style"]; s != "bullet" && s != "ordered" {
			c.bad(at+"/style", "must be one of: bullet, ordered")
		}
		for i, e := range els {
			c.rich(fmt.Sprintf("%s/elements/%d", at, i), e, false)
		}
	case kind == "rich_text_section", top && (kind == "rich_text_preformatted" || kind == "rich_text_quote"):
		for i, e := range els {
			c.inline(fmt.Sprintf("%s/elements/%d", at, i), e)
		}
	default:
		c.bad(at+"/type", "unsupported type: %v", kind)
	}
	if len(els) == 0 {
		c.bad(at+"/elements", "must have at least 1 item")
	}
}

func (c *checker) inline(at string, v any) {
	o, _ := v.(map[string]any)
	need := map[string]string{
		"text": "text", "link": "url", "emoji": "name", "user": "user_id", "channel": "channel_id", "usergroup": "usergroup_id",
		"broadcast": "range", "color": "value", "team": "team_id", "date": "format",
	}
	kind, _ := o["type"].(string)
	field, known := need[kind]
	if !known {
		c.bad(at+"/type", "unsupported type: %v", o["type"])
		return
	}
	s, _ := o[field].(string)
	switch {
	case s == "":
		c.bad(at+"/"+field, "must be more than 0 characters")
	case units(s) > maxRichString:
		c.bad(at+"/"+field, "must be less than %d characters", maxRichString+1)
	case kind == "date":
		if n, ok := o["timestamp"].(float64); !ok || n != float64(int64(n)) {
			c.bad(at+"/timestamp", "must be an integer")
		}
	}
	c.sum += units(s)
}
