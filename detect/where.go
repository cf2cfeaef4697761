package detect

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"
	"go.yaml.in/yaml/v3"

	"picket/detect/diag"
)

const (
	maxWhereNodes = 200
	maxWhereText  = 2000
	// maxWhereInput bounds what where reads of one field of an event; maxWhereCostly bounds the
	// operators that read or copy all of it.
	maxWhereInput  = 64 << 10
	maxWhereCostly = 4
	// maxWhereRegex bounds the size of its regular expressions: each instruction may cost as much
	// as all others for each byte.
	maxWhereRegex = 100
)

// where is an expr-lang expression for what match cannot say. It is evaluated
// last. An event that lacks a field named in it does not match.
type where struct {
	program *vm.Program
	fields  []Field
}

func (w *where) eval(m *Matcher, ev *Event) bool {
	for _, f := range w.fields {
		if !ev.Has(f) {
			return false
		}
		switch f.Kind() {
		case Text:
			m.env[f.String()] = ev.text[f][:min(len(ev.text[f]), maxWhereInput)]
		case List:
			m.env[f.String()] = firstBytes(ev.lists[f-firstList], maxWhereInput)
		case Number:
			m.env[f.String()] = ev.num[f-firstNumber]
		case Flag:
			m.env[f.String()] = ev.num[f-firstNumber] != 0
		}
	}
	out, err := m.vm.Run(w.program, m.env)
	if err != nil {
		m.stats.Errors++
		return false
	}
	on, _ := out.(bool)
	return on
}

// firstBytes are the values that begin within limit bytes, the last cut there.
func firstBytes(values []string, limit int) []string {
	for i, v := range values {
		if len(v) >= limit {
			out := append([]string(nil), values[:i+1]...)
			out[i] = v[:limit]
			return out
		}
		limit -= len(v) + 1 // empty ones take time too
	}
	return values
}

// whereEnv types every field for the checker, under its dotted name.
func whereEnv() map[string]any {
	env := make(map[string]any, NumFields)
	for f := range NumFields {
		switch f.Kind() {
		case Text:
			env[f.String()] = ""
		case List:
			env[f.String()] = []string(nil)
		case Number:
			env[f.String()] = float64(0)
		case Flag:
			env[f.String()] = false
		}
	}
	return env
}

// whereBuiltins are bounded by the size of their arguments and look at nothing else.
var whereBuiltins = []string{"len", "lower", "upper", "trim", "indexOf", "abs", "min", "max", "any", "all", "none", "one", "count", "int", "float", "string"}

func compileWhere(d *diag.Ctx, n *yaml.Node, text string) *where {
	if len(text) > maxWhereText {
		d.Errorf(n, "where is longer than %d bytes", maxWhereText)
		return nil
	}
	flat := &flatten{}
	opts := []expr.Option{
		expr.Env(whereEnv()), expr.AsBool(), expr.MaxNodes(maxWhereNodes), expr.DisableAllBuiltins(), expr.Patch(flat),
	}
	for _, name := range whereBuiltins {
		opts = append(opts, expr.EnableBuiltin(name))
	}
	program, err := expr.Compile(text, opts...)
	w := &where{program: program}
	if err == nil {
		check := &bounds{}
		node := program.Node()
		ast.Walk(&node, check)
		if msg := check.msg; msg != "" {
			err = &file.Error{Location: check.at, Message: msg}
		}
		loops := &loopFinder{}
		ast.Walk(&node, loops)
		if loops.nested {
			err = errors.New("any, all, none, one and count do not go inside each other: their work would multiply")
		}
		w.fields = check.fields
	}
	if err != nil {
		reportWhere(d, n, text, err)
		return nil
	}
	if len(w.fields) == 0 {
		d.Report(n, "where names no field", "fields are written as in match, such as http.status")
	}
	return w
}

// reportWhere puts an expression's error at its place in the YAML file.
func reportWhere(d *diag.Ctx, n *yaml.Node, text string, err error) {
	p := d.Source().At(n, "where: "+strings.SplitN(err.Error(), "\n", 2)[0], "")
	var at *file.Error
	if errors.As(err, &at) {
		p.Msg = "where: " + at.Message
		line, col := 1, 0
		for i, r := range []rune(text) {
			if i == at.From {
				break
			}
			col++
			if r == '\n' {
				line, col = line+1, 0
			}
		}
		switch {
		case n.Style&yaml.LiteralStyle != 0:
			// The text starts on the line below; its indentation is that of its first line.
			q := d.Source().At(&yaml.Node{Kind: yaml.ScalarNode, Line: n.Line + line, Column: 1}, "", "")
			indent := len(q.Snippet) - len(strings.TrimLeft(q.Snippet, " "))
			p.Line, p.Column, p.Snippet, p.Len = n.Line+line, indent+col+1, q.Snippet, 1
		case line == 1 && n.Style&yaml.FoldedStyle == 0:
			if n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0 {
				col++
			}
			p.Column, p.Len = n.Column+col, max(1, at.To-at.From)
		}
	}
	if name, ok := strings.CutPrefix(p.Msg, "where: unknown name "); ok {
		p.Hint = diag.Suggest(strings.Fields(name)[0], append(fieldNames(), whereBuiltins...))
	}
	d.Add(p)
}

// flatten turns net.ip, which parses as member ip of net, into the field of that name.
type flatten struct{}

func (f *flatten) Visit(node *ast.Node) {
	m, ok := (*node).(*ast.MemberNode)
	if !ok {
		return
	}
	name, ok := m.Property.(*ast.StringNode)
	if !ok {
		return
	}
	base, ok := m.Node.(*ast.IdentifierNode)
	if !ok {
		return
	}
	id := &ast.IdentifierNode{Value: base.Value + "." + name.Value}
	ast.Patch(node, id)
	id.SetLocation(base.Location())
}

// bounds collects the fields and refuses what could cost without limit.
type bounds struct {
	fields []Field
	costly int
	regex  int // instructions
	msg    string
	at     file.Location
}

func (b *bounds) Visit(node *ast.Node) {
	switch x := (*node).(type) {
	case *ast.IdentifierNode:
		if f, ok := FieldByName(x.Value); ok {
			b.fields = append(b.fields, f)
		}
	case *ast.PredicateNode:
		inner := &fieldFinder{}
		ast.Walk(&x.Node, inner)
		if inner.name != "" {
			b.msg, b.at = fmt.Sprintf("%s would be read anew for each value: inside any, all, none, one and count use # and numbers only", inner.name), x.Location()
		}
	case *ast.BinaryNode:
		if text, constant := x.Right.(*ast.StringNode); x.Operator == "matches" && !constant {
			b.msg, b.at = "matches needs a constant expression on its right", x.Location()
		} else if x.Operator == "matches" {
			if b.regex += regexSize(text.Value); b.regex > maxWhereRegex {
				b.msg, b.at = "regular expressions of where are too large together: each character counts, and a repetition like {9} counts its inside as many times; use match with |re", x.Location()
			}
		}
		if x.Operator == "matches" || x.Operator == "+" && x.Type() != nil && x.Type().Kind() == reflect.String {
			if b.costly++; b.costly > maxWhereCostly {
				b.msg, b.at = fmt.Sprintf("at most %d matches and joined texts: each reads or copies whole fields", maxWhereCostly), x.Location()
			}
		}
		if x.Operator == ".." || x.Operator == "**" || x.Operator == "^" {
			b.msg, b.at = fmt.Sprintf("operator %s is not available", x.Operator), x.Location()
		}
	}
}

// fieldFinder finds a text or a list in the body of a loop.
type fieldFinder struct{ name string }

func (f *fieldFinder) Visit(node *ast.Node) {
	if id, ok := (*node).(*ast.IdentifierNode); ok {
		if field, ok := FieldByName(id.Value); ok && (field.Kind() == Text || field.Kind() == List) {
			f.name = id.Value
		}
	}
}

// loopFinder finds loops that stand inside each other.
type loopFinder struct{ nested bool }

func (l *loopFinder) Visit(node *ast.Node) {
	b, ok := (*node).(*ast.BuiltinNode)
	if !ok {
		return
	}
	for i := range b.Arguments {
		inner := &predicateFinder{}
		ast.Walk(&b.Arguments[i], inner)
		if inner.found {
			l.nested = true
		}
	}
}

type predicateFinder struct {
	found bool
	seen  int
}

func (p *predicateFinder) Visit(node *ast.Node) {
	if _, ok := (*node).(*ast.PredicateNode); ok {
		p.seen++
		p.found = p.seen > 1
	}
}
