package celpolicy

import (
	"strings"
	"testing"
)

// What other languages write is answered with what CEL writes, once, at its place.
func TestOtherLanguagesAreTranslated(t *testing.T) {
	for expression, want := range map[string]string{
		`principal.subject = "alice"`:                         "when:1:19: …to compare write ==",
		`principal.subject === "alice"`:                       "when:1:21: …to compare write ==",
		`principal.subject !== "alice"`:                       "when:1:21: …write !=",
		`principal.subject <> "alice"`:                        "when:1:20: …write !=",
		`request.size => 3`:                                   "when:1:14: …write >=",
		`request.size =< 3`:                                   "write <=",
		`request.path =~ "^/a"`:                               `when:1:14: …write ….matches("…")`,
		`request.path ~ "^/a"`:                                `write ….matches("…")`,
		`request.path matches "^/a"`:                          `when:1:14: …write ….matches("…")`,
		`request.path like "/a%"`:                             `write ….matches("…")`,
		`request.path startsWith "/a"`:                        "when:1:14: …after a dot, with parentheses",
		`request.path ENDS_WITH "/a"`:                         "after a dot, with parentheses",
		`principal.authenticated and request.tls`:             "when:1:25: …write &&",
		`principal.authenticated OR request.tls`:              "write ||",
		`principal.authenticated & request.tls`:               "when:1:25: …write &&",
		`principal.authenticated | request.tls`:               "write ||",
		`not principal.authenticated`:                         "when:1:5: …write !(…)",
		`request.tls && Not principal.authenticated`:          "write !(…)",
		"request.tls &&\n  not (principal.authenticated)":     "when:2:7: …write !(…)",
		`request.tls not principal.authenticated`:             "write !(…)",
		`"Admin" not in principal.groups`:                     "when:1:9: …write !(… in …)",
		`and(request.tls, principal.authenticated)`:           "write … && …",
		`or(request.tls, principal.authenticated)`:            "write … || …",
		`principal.kind is "user"`:                            "to compare write ==",
		`principal.kind eq "user"`:                            "to compare write ==",
		`principal.groups contains "Admin"`:                   `when:1:18: …to look into a list write … in …, as in "Admin" in principal.groups`,
		`principal.groups includes "Admin"`:                   "to look into a list write … in …",
		`principal.groups has "Admin"`:                        "to look into a list write … in …",
		`principal.groups.contains("Admin")`:                  "when:1:26: …to look into a list write … in …",
		`!principal.groups.contains(claims.x)`:                "to look into a list write … in …",
		`principal.scopes.indexOf("read") >= 0`:               "to look into a list write … in …",
		`principal.groups.includes("Admin")`:                  "when:1:26: …to look into a list write … in …",
		`principal.groups.has("Admin")`:                       "to look into a list write … in …",
		`principal.subject == “alice”`:                        "when:1:22: …write straight quotes",
		`if request.tls then true else false`:                 "when:1:1: …write <condition> ? <then> : <else>",
		`principal.scopes.size == 2`:                          "when:1:17: …did you mean .size()?",
		`claims.admin == True`:                                "did you mean true?",
		`claims.admin != None`:                                "did you mean null?",
		`placeholder("{http.vars.country}") == "DE"`:          `when:1:14: leave the braces out: write placeholder("http.vars.country")`,
		`placeholder( '{http.vars.country}') == "DE"`:         `leave the braces out: write placeholder("http.vars.country")`,
		`placeholder({http.vars.country}) == "DE"`:            `leave the braces out: write placeholder("http.vars.country")`,
		`placeholder("{country}") == "DE"`:                    `when:1:13: leave the braces out: write placeholder("country")`,
		`placeholder(http.vars.country) == "DE"`:              `when:1:22: the name of a placeholder must be one literal text: put it in quotes, placeholder("http.vars.country")`,
		"true &&\n {http.request.uri.path} == \"/\"":          `when:2:2: Caddy replaced a shorthand such as {path} or {host}, or this was written: write placeholder("http.request.uri.path")`,
		`"ä" == request.path || "{http.request.host}" == "x"`: `when:1:25: Caddy replaced a shorthand`,
	} {
		t.Run(expression, func(t *testing.T) {
			_, _, err := checkSource(expression, nil)
			if err == nil {
				t.Fatal("it is accepted")
			}
			place, text, ok := strings.Cut(want, "…")
			if !ok || !strings.HasPrefix(want, "when:") {
				place, text = "when:", want
			}
			if !strings.HasPrefix(err.Error(), place) || !strings.Contains(err.Error(), text) || strings.Count(err.Error(), "when:") != 1 || strings.Count(err.Error(), "\n | ") != 2 {
				t.Errorf("%v\nwant %s, once and with a caret", err, want)
			}
		})
	}
	for _, expression := range []string{`principal..acr == ""`, `true false`, `1 == 1 &&`, `placeholder(claims.name) == ""`, `placeholder(1) == ""`, `principal.groups.frob == 1`} {
		if _, _, err := checkSource(expression, nil); err == nil || strings.Contains(err.Error(), ": write") || strings.Contains(err.Error(), "quotes") || strings.Contains(err.Error(), "mean") {
			t.Errorf("%s: %v, want no hint: nobody knows what was meant", expression, err)
		}
	}
	// Mistakes that are all known are all told.
	_, _, err := checkSource(`placeholder("") == placeholder(1)`, nil)
	if err == nil || !strings.Contains(err.Error(), "is empty") || !strings.Contains(err.Error(), "one literal text") {
		t.Errorf("two mistakes: %v", err)
	}
}
