package alerting

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/slack-go/slack"
)

// Slack refuses messages whose blocks are too long in sum, at a length that it
// does not document (12,000 with deductions for every container, 9,600 seen).
// The encoded blocks of a whole message stay below this.
const maxBlocks = 8000

// Blocks renders an incident for Slack, with as much detail as fits. Text from
// events is only in plain_text and in rich_text's text elements, where Slack
// looks for no markup, mention, link or emoji name.
func (r Renderer) Blocks(i Incident) (blocks []slack.Block, fallback string) {
	m, blocks := r.fit(i)
	return blocks, m.Fallback
}

func (r Renderer) fit(i Incident) (m Message, blocks []slack.Block) {
	for detail := 0; ; detail++ {
		m = r.Message(i, detail)
		if blocks = m.blocks(); detail == 12 || encodedWidth(blocks) < maxBlocks {
			return m, blocks
		}
	}
}

func encodedWidth(blocks []slack.Block) int {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(blocks); err != nil {
		return maxBlocks // not reachable with the types used here; too long is the safe answer
	}
	return width(b.String())
}

func (m Message) blocks() []slack.Block {
	out := []slack.Block{slack.NewHeaderBlock(plainText(clip(m.Headline, 150)))}
	if m.Why != "" {
		out = append(out, slack.NewRichTextBlock("", section(text(m.Why, nil))))
	}
	if len(m.Facts) > 0 {
		var els []slack.RichTextSectionElement
		for n, f := range m.Facts {
			els = append(els, f.elements()...)
			if n < len(m.Facts)-1 {
				els = append(els, text("\n", nil))
			}
		}
		out = append(out, slack.NewRichTextBlock("", section(els...)))
	}
	if len(m.Steps) > 0 {
		style := slack.RTEListBullet
		if m.Ordered {
			style = slack.RTEListOrdered
		}
		items := make([]slack.RichTextElement, len(m.Steps))
		for n, s := range m.Steps {
			items[n] = section(text(s, nil))
		}
		out = append(out, slack.NewRichTextBlock("", section(text("What to do first", bold)), slack.NewRichTextList(style, 0, items...)))
	}
	if len(m.Evidence) > 0 {
		out = append(out, slack.NewRichTextBlock("", section(text("Evidence", bold)), preformatted(strings.Join(m.Evidence, "\n"))))
	}
	if m.Query != "" {
		out = append(out, slack.NewRichTextBlock("", section(text("Look closer in ClickHouse", bold)), preformatted(m.Query)))
	}
	return append(out, slack.NewContextBlock("", plainText(clip(m.Footer, 600))))
}

func (f Fact) elements() []slack.RichTextSectionElement {
	style := (*slack.RichTextSectionTextStyle)(nil)
	if f.Code {
		style = &slack.RichTextSectionTextStyle{Code: true}
	}
	els := []slack.RichTextSectionElement{text(f.Label+"  ", bold)}
	if f.Value != "" {
		els = append(els, text(f.Value, style))
	}
	if f.Note != "" {
		els = append(els, text("  ("+f.Note+")", nil))
	}
	if !f.Time.IsZero() {
		// Slack shows a date element in the reader's own time zone.
		none := f.Time.UTC().Format("15:04 UTC")
		els = append(els, text("  (for you: ", nil),
			slack.NewRichTextSectionDateElement(f.Time.Unix(), "{date_short_pretty} {time}", nil, &none), text(")", nil))
	}
	return els
}

// replyBlocks is the one sentence of a reply in the thread.
func replyBlocks(sentence string) []slack.Block {
	return []slack.Block{slack.NewRichTextBlock("", section(text(clip(sentence, 600), nil)))}
}

var bold = &slack.RichTextSectionTextStyle{Bold: true}

func plainText(s string) *slack.TextBlockObject {
	if s == "" {
		s = "-" // an empty text object is refused
	}
	// emoji false: ":tada:" stays what it is.
	return slack.NewTextBlockObject(slack.PlainTextType, s, false, false)
}

func text(s string, style *slack.RichTextSectionTextStyle) slack.RichTextSectionElement {
	return slack.NewRichTextSectionTextElement(s, style)
}

func section(els ...slack.RichTextSectionElement) *slack.RichTextSection {
	return slack.NewRichTextSection(els...)
}

func preformatted(s string) *slack.RichTextPreformatted {
	return &slack.RichTextPreformatted{Type: slack.RTEPreformatted, Elements: []slack.RichTextSectionElement{text(s, nil)}}
}
