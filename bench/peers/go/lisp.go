package main

import (
	_ "embed"
	"fmt"
	"runtime/metrics"
	"strconv"
	"strings"
)

// The workload lisp: programs in a small Lisp, compiled to closures with the addresses of variables known.
// A value is an interface, so that numbers are boxed as Go boxes them; a call makes a frame, in one allocation.

func init() { register("lisp", lisp) }

//go:embed lisp.scm
var lispPrograms string

//go:embed lisp-boxed.scm
var boxedLispPrograms string

type value = any

type symbol struct{ name string }

type pair struct{ car, cdr value }

type closure struct {
	count int
	body  code
	up    *frame
}

// frame holds the arguments of a call.
type frame struct {
	slots []value
	up    *frame
}

type global struct {
	name  string
	value value
}

type code func(f *frame) value

type lispMachine struct {
	symbols map[string]*symbol
	globals map[string]*global
}

// scope is what the compiler knows of a frame.
type scope struct {
	names []string
	up    *scope
}

// --- reading ---------------------------------------------------------------

func lispTokens(text string) []string {
	var clean strings.Builder
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, ";")
		clean.WriteString(strings.TrimSuffix(line, "\n") + "\n")
	}
	spaced := strings.NewReplacer("(", " ( ", ")", " ) ", "'", " ' ").Replace(clean.String())
	return strings.Fields(spaced)
}

func (m *lispMachine) read(tokens *[]string) value {
	token := (*tokens)[0]
	*tokens = (*tokens)[1:]
	switch token {
	case "(":
		var items []value
		for (*tokens)[0] != ")" {
			items = append(items, m.read(tokens))
		}
		*tokens = (*tokens)[1:]
		return listOf(items)
	case "'":
		return listOf([]value{m.symbol("quote"), m.read(tokens)})
	case "#t":
		return true
	case "#f":
		return false
	}
	if n, err := strconv.Atoi(token); err == nil {
		return n
	}
	return m.symbol(token)
}

func (m *lispMachine) symbol(name string) *symbol {
	s := m.symbols[name]
	if s == nil {
		s = &symbol{name}
		m.symbols[name] = s
	}
	return s
}

// listOf makes a list; the empty one is nil.
func listOf(items []value) value {
	var list value
	for i := len(items) - 1; i >= 0; i-- {
		list = &pair{items[i], list}
	}
	return list
}

func itemsOf(list value) []value {
	var items []value
	for list != nil {
		p := list.(*pair)
		items = append(items, p.car)
		list = p.cdr
	}
	return items
}

// --- compiling -------------------------------------------------------------

func (m *lispMachine) global(name string) *global {
	g := m.globals[name]
	if g == nil {
		g = &global{name: name}
		m.globals[name] = g
	}
	return g
}

func (m *lispMachine) compile(form value, s *scope) code {
	switch form := form.(type) {
	case *symbol:
		return m.variable(form.name, s)
	case *pair:
		items := itemsOf(form)
		if head, ok := form.car.(*symbol); ok {
			if special := m.special(head.name, items, s); special != nil {
				return special
			}
			if inline := m.inline(head.name, items[1:], s); inline != nil {
				return inline
			}
		}
		return m.call(items, s)
	}
	return func(*frame) value { return form }
}

func (m *lispMachine) variable(name string, s *scope) code {
	depth := 0
	for at := s; at != nil; at = at.up {
		for i, known := range at.names {
			if known != name {
				continue
			}
			switch depth {
			case 0:
				return func(f *frame) value { return f.slots[i] }
			case 1:
				return func(f *frame) value { return f.up.slots[i] }
			}
			return func(f *frame) value {
				for range depth {
					f = f.up
				}
				return f.slots[i]
			}
		}
		depth++
	}
	g := m.global(name)
	return func(*frame) value { return g.value }
}

func (m *lispMachine) special(name string, items []value, s *scope) code {
	switch name {
	case "quote":
		quoted := items[1]
		return func(*frame) value { return quoted }
	case "if":
		test, then, other := m.compile(items[1], s), m.compile(items[2], s), m.compile(items[3], s)
		return func(f *frame) value {
			if test(f) != false {
				return then(f)
			}
			return other(f)
		}
	case "lambda":
		return m.lambda(itemsOf(items[1]), items[2], s)
	case "define":
		target := itemsOf(items[1])
		g := m.global(target[0].(*symbol).name)
		made := m.lambda(target[1:], items[2], s)
		return func(f *frame) value {
			g.value = made(f)
			return nil
		}
	}
	return nil
}

func (m *lispMachine) lambda(parameters []value, body value, s *scope) code {
	inner := &scope{up: s}
	for _, parameter := range parameters {
		inner.names = append(inner.names, parameter.(*symbol).name)
	}
	count, compiled := len(parameters), m.compile(body, inner)
	return func(f *frame) value { return &closure{count, compiled, f} }
}

// Frames with room for their slots.
type frame1 struct {
	frame
	store [1]value
}

type frame2 struct {
	frame
	store [2]value
}

type frame3 struct {
	frame
	store [3]value
}

func (m *lispMachine) call(items []value, s *scope) code {
	callee := m.compile(items[0], s)
	arguments := make([]code, len(items)-1)
	for i, item := range items[1:] {
		arguments[i] = m.compile(item, s)
	}
	switch len(arguments) {
	case 1:
		a := arguments[0]
		return func(f *frame) value {
			c := closureOf(callee(f), 1)
			next := &frame1{store: [1]value{a(f)}}
			next.slots, next.up = next.store[:], c.up
			return c.body(&next.frame)
		}
	case 2:
		a, b := arguments[0], arguments[1]
		return func(f *frame) value {
			c := closureOf(callee(f), 2)
			next := &frame2{store: [2]value{a(f), b(f)}}
			next.slots, next.up = next.store[:], c.up
			return c.body(&next.frame)
		}
	case 3:
		a, b, d := arguments[0], arguments[1], arguments[2]
		return func(f *frame) value {
			c := closureOf(callee(f), 3)
			next := &frame3{store: [3]value{a(f), b(f), d(f)}}
			next.slots, next.up = next.store[:], c.up
			return c.body(&next.frame)
		}
	}
	return func(f *frame) value {
		c := closureOf(callee(f), len(arguments))
		slots := make([]value, len(arguments))
		for i, argument := range arguments {
			slots[i] = argument(f)
		}
		return c.body(&frame{slots, c.up})
	}
}

func closureOf(callee value, count int) *closure {
	c, ok := callee.(*closure)
	if !ok || c.count != count {
		fail("not a procedure of %d arguments: %v", count, callee)
	}
	return c
}

// inline is a call of a procedure of the language's own, which the programs do not define.
func (m *lispMachine) inline(name string, arguments []value, s *scope) code {
	compiled := make([]code, len(arguments))
	for i, argument := range arguments {
		compiled[i] = m.compile(argument, s)
	}
	switch name {
	case "list":
		return func(f *frame) value {
			var list value
			for i := len(compiled) - 1; i >= 0; i-- {
				list = &pair{compiled[i](f), list}
			}
			return list
		}
	case "car", "cdr", "null?", "pair?", "not":
		return inlineOne(name, compiled[0])
	case "cons", "eq?", "+", "-", "<", "=":
		if n, ok := arguments[1].(int); ok {
			if with := inlineNumber(name, compiled[0], n); with != nil {
				return with
			}
		}
		return inlineTwo(name, compiled[0], compiled[1])
	}
	return nil
}

func inlineOne(name string, a code) code {
	switch name {
	case "car":
		return func(f *frame) value { return a(f).(*pair).car }
	case "cdr":
		return func(f *frame) value { return a(f).(*pair).cdr }
	case "null?":
		return func(f *frame) value { return a(f) == nil }
	case "pair?":
		return func(f *frame) value {
			_, ok := a(f).(*pair)
			return ok
		}
	}
	return func(f *frame) value { return a(f) == false }
}

// inlineNumber is an operation whose second argument is a constant.
func inlineNumber(name string, a code, n int) code {
	switch name {
	case "+":
		return func(f *frame) value { return a(f).(int) + n }
	case "-":
		return func(f *frame) value { return a(f).(int) - n }
	case "<":
		return func(f *frame) value { return a(f).(int) < n }
	case "=":
		return func(f *frame) value { return a(f).(int) == n }
	}
	return nil
}

func inlineTwo(name string, a, b code) code {
	switch name {
	case "cons":
		return func(f *frame) value { return &pair{a(f), b(f)} }
	case "eq?":
		return func(f *frame) value { return a(f) == b(f) }
	case "+":
		return func(f *frame) value { return a(f).(int) + b(f).(int) }
	case "-":
		return func(f *frame) value { return a(f).(int) - b(f).(int) }
	case "<":
		return func(f *frame) value { return a(f).(int) < b(f).(int) }
	}
	return func(f *frame) value { return a(f).(int) == b(f).(int) }
}

// --- running ---------------------------------------------------------------

// eval evaluates all forms of a text, and returns the last one's value.
func (m *lispMachine) eval(text string) value {
	var last value
	for tokens := lispTokens(text); len(tokens) > 0; {
		last = m.compile(m.read(&tokens), nil)(nil)
	}
	return last
}

func lisp(r *run) outcome {
	m := &lispMachine{map[string]*symbol{}, map[string]*global{}}
	boxed := r.variant == "boxed"
	if boxed {
		m.eval(boxedLispPrograms)
	} else {
		m.eval(lispPrograms)
	}
	number := func(n int) string {
		if boxed {
			return fmt.Sprintf("'(%d)", n)
		}
		return strconv.Itoa(n)
	}
	check := newDigest()
	cpu := map[string]uint64{}
	for range r.number("passes") {
		for _, program := range []string{"fib", "tak", "queens", "deriv"} {
			watch := startWatch()
			n := r.number(program)
			form := fmt.Sprintf("(%s %s)", program, number(n))
			switch program {
			case "tak":
				form = fmt.Sprintf("(tak %s %s %s)", number(n), number(n/3*2), number(n/3))
			case "deriv":
				form = fmt.Sprintf("(derivs %s)", number(n))
			}
			result := m.eval(form)
			if boxed {
				result = result.(*pair).car
			}
			check.add(uint64(result.(int)))
			cpu[program] += watch.cpu()
		}
	}
	o := outcome{check: uint64(check)}
	for program, nanos := range cpu {
		o.metric(program+"_cpu_ms", float64(nanos)/1e6)
	}
	o.metric("collector_percent", collectorPercent())
	return o
}

// collectorPercent is the collector's share of the process's CPU time.
func collectorPercent() float64 {
	sample := []metrics.Sample{{Name: "/cpu/classes/gc/total:cpu-seconds"}}
	metrics.Read(sample)
	used := float64(processCPU()) / 1e9
	return sample[0].Value.Float64() / used * 100
}
