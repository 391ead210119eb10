package caddyfile

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What expressions can read is what the README lists: these variables, with these fields, of these types.
func TestReadmeListsTheVariablesOfExpressions(t *testing.T) {
	uses := map[string]string{ // none of them compiles for another type
		"bool": "%s || true", "string": `%s.startsWith("a")`, "timestamp": "%s < now", "int": "%s + 1 > 0",
		"list of strings": `%s.join(",") == ""`, "map of lists": `%s["a"].join(",") == ""`,
	}
	fields := make(map[string][]string) // by variable
	for _, row := range rowsOf(t, "| variable") {
		variable := strings.Trim(row[0], "`")
		fields[variable] = nil
		if variable != "principal" && variable != "request" {
			continue
		}
		for part := range strings.SplitSeq(row[1], "; ") {
			kind, _, _ := strings.Cut(strings.TrimSpace(part[strings.LastIndex(part, "`")+1:]), ",")
			if strings.HasPrefix(kind, `"`) { // the row lists the values
				kind = "string"
			}
			if uses[kind] == "" {
				t.Errorf("README: %q of %s is no type", kind, variable)
			}
			for _, field := range quoted(part) {
				fields[variable] = append(fields[variable], field)
				expression := fmt.Sprintf(uses[kind], variable+"."+field)
				if err := ruleError(expression); err != nil {
					t.Errorf("README says that %s.%s is a %s: %v", variable, field, kind, err)
				}
			}
		}
	}
	for _, expression := range []string{`claims.a.b == 1 && claims.c == "d"`, `params.id.startsWith("a")`, `now.getHours("Europe/Berlin") > 8`} {
		if err := ruleError(expression); err != nil {
			t.Error(err)
		}
	}
	// The compiler names what there is when it meets something else.
	for expression, documented := range map[string][]string{
		"principal.jjjjjjjj == 1": fields["principal"], "request.jjjjjjjj == 1": fields["request"],
		"jjjjjjjj == 1": slices.Collect(maps.Keys(fields)),
	} {
		m := regexp.MustCompile(`'jjjjjjjj': [a-z ]+ (?:has|are) ([a-z_, ]+)`).FindStringSubmatch(fmt.Sprint(ruleError(expression)))
		if m == nil {
			t.Fatalf("%s: the message does not name what there is", expression)
		}
		known := strings.Split(m[1], ", ")
		slices.Sort(known)
		slices.Sort(documented)
		if !slices.Equal(known, documented) {
			t.Errorf("%s: there are %v, the README lists %v", expression, known, documented)
		}
	}
}

// ruleError is what the adapter says of a rule with a parameter id.
func ruleError(expression string) error {
	return adapt("example.com {\n cel_policy {\n allow rule /x/{id} `" + expression + "`\n }\n}\n")
}

// The members of a test in a policy file are those of the schema that editors use, and the same are required.
func TestReadmeListsTheMembersOfATest(t *testing.T) {
	var schema struct {
		Defs map[string]struct {
			Properties map[string]any
			Required   []string
		} `json:"$defs"`
	}
	text, err := os.ReadFile("../celpolicy/policy.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	documented := map[string][]string{"test": nil}
	var required []string
	for _, row := range rowsOf(t, "| member of a test") {
		name := strings.Trim(row[0], "`")
		documented["test"] = append(documented["test"], name)
		if row[2] == "required" {
			required = append(required, name)
		}
		if _, ok := schema.Defs[name]; ok && name != "name" {
			documented[name] = slices.DeleteFunc(quoted(row[1]), func(word string) bool { return word == `""` })
		}
	}
	for name, members := range documented {
		slices.Sort(members)
		if known := slices.Sorted(maps.Keys(schema.Defs[name].Properties)); !slices.Equal(known, members) {
			t.Errorf("%s has the members %v, the README lists %v", name, known, members)
		}
	}
	if !slices.Equal(required, schema.Defs["test"].Required) {
		t.Errorf("%v are required, the README says %v", schema.Defs["test"].Required, required)
	}
	if len(documented) != 3 {
		t.Errorf("only %v were compared", slices.Collect(maps.Keys(documented)))
	}
}

// quoted returns what stands in backquotes.
func quoted(text string) (words []string) {
	for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(text, -1) {
		words = append(words, m[1])
	}
	return words
}
