package jwks

import (
	"encoding/json"
	"errors"
	"fmt"
)

// object reads a JSON object. Member names keep their case: encoding/json would match the fields of a struct without
// regard to it, and "ISSUER" is not "issuer".
func object(document []byte) (map[string]json.RawMessage, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(document, &members); err != nil {
		return nil, fmt.Errorf("not a JSON object: %w", err)
	}
	if members == nil {
		return nil, errors.New("not a JSON object: null")
	}
	return members, nil
}

// text returns a member that is a string; "" stands for one that is absent or null.
func text(members map[string]json.RawMessage, name string) (string, error) {
	raw, ok := members[name]
	if !ok {
		return "", nil
	}
	var value string
	if err := json.Unmarshal(raw, &value); err != nil {
		return "", fmt.Errorf("its member %q is not a text", name)
	}
	return value, nil
}
