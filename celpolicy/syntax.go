package celpolicy

import (
	"regexp"
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common"
)

// syntaxMistakes reports where an expression stops to be CEL, with what was probably meant. Where that is known, only
// the first place is told: the others are what the parser made of it.
func syntaxMistakes(source common.Source, issues *cel.Issues) error {
	first := slices.MinFunc(issues.Errors(), byPlace)
	if hint := syntaxHint(source, first.Location); hint != "" {
		return mistakeAt(source, first.Location, first.Message+": "+hint)
	}
	return mistakes(source, issues.Errors())
}

func mistakeAt(source common.Source, at common.Location, message string) error {
	return mistakes(source, []*common.Error{common.NewError(0, message, at)})
}

// syntaxHint returns what to write instead of what stands at a place, or nothing.
func syntaxHint(source common.Source, at common.Location) string {
	line, _ := source.Snippet(at.Line())
	text := []rune(line)
	if at.Column() < 0 || at.Column() > len(text) { // no place at all
		return ""
	}
	marked := string(text[:at.Column()]) + "‸" + string(text[at.Column():])
	for _, other := range otherLanguages {
		if other.at.MatchString(marked) {
			return other.hint
		}
	}
	return ""
}

const (
	lookInto    = `to look into a list write … in …, as in "Admin" in principal.groups; to look into a text write ….contains(…)`
	withPattern = `to compare a text with a pattern write ….matches("…")`
	asMethod    = "it is written after a dot, with parentheses, as in request.path.startsWith(…)"
)

// otherLanguages is what other languages write where the parser stops, which is at ‸.
var otherLanguages = []struct {
	at   *regexp.Regexp
	hint string
}{
	{regexp.MustCompile(`!=‸=`), "write !="},
	{regexp.MustCompile(`<‸>`), "write !="},
	{regexp.MustCompile(`‸=>`), "write >="},
	{regexp.MustCompile(`‸=<`), "write <="},
	{regexp.MustCompile(`‸=?~`), withPattern},
	{regexp.MustCompile(`‸=`), "to compare write =="},
	{regexp.MustCompile(`‸&`), "write &&"},
	{regexp.MustCompile(`‸\|`), "write ||"},
	{regexp.MustCompile(`‸[“”„‘’‚«»]`), `write straight quotes, " or '`},
	{regexp.MustCompile(`(?i)‸and\b`), "write &&"},
	{regexp.MustCompile(`(?i)‸or\b`), "write ||"},
	{regexp.MustCompile(`(?i)‸not +in\b`), "write !(… in …)"},
	{regexp.MustCompile(`(?i)(\bnot *‸|‸not\b)`), "write !(…)"},
	{regexp.MustCompile(`(?i)‸(is|eq|equals)\b`), "to compare write =="},
	{regexp.MustCompile(`(?i)‸(contains?|includes?|has)\b`), lookInto},
	{regexp.MustCompile(`(?i)‸(matches|like)\b`), withPattern},
	{regexp.MustCompile(`(?i)‸(starts|ends)_?with\b`), asMethod},
	{regexp.MustCompile(`(?i)‸(if|then|else)\b`), "write <condition> ? <then> : <else>"},
}

var shorthand = regexp.MustCompile(`\{(http\.[^{}"'\s]*)\}?`)

// checkShorthands reports what Caddy replaced in a Caddyfile, or what somebody wrote who expected it to.
func checkShorthands(source common.Source) error {
	text := source.Content()
	found := shorthand.FindStringSubmatchIndex(text)
	if found == nil {
		return nil
	}
	at, _ := source.OffsetLocation(int32(len([]rune(text[:found[0]]))))
	name := text[found[2]:found[3]]
	if placeholderCall.MatchString(text[:found[0]]) {
		return mistakeAt(source, at, `leave the braces out: write placeholder("`+name+`")`)
	}
	return mistakeAt(source, at, `Caddy replaced a shorthand such as {path} or {host}, or this was written: write placeholder("`+name+`"), or a field of request`)
}

var placeholderCall = regexp.MustCompile(`\bplaceholder\(\s*r?["']*$`)
