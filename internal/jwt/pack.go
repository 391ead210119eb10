package jwt

import (
	"encoding/binary"
	"encoding/json"
	"time"
)

// Seal is what stands beside the claims of a token.
type Seal struct {
	Type      string // typ of the token's header
	Algorithm string // alg
	KeyNumber uint64 // which key its signature was verified with
}

// Pack returns all that claims and seal say in one text, for a cache.
func (c *Claims) Pack(s Seal) string {
	var room [1024]byte
	b := binary.AppendVarint(room[:0], int64(s.KeyNumber))
	for _, text := range [...]string{s.Type, s.Algorithm, c.Issuer, c.Subject, c.ClientID, c.UserID, c.ID, c.ACR, c.Foreign} {
		b = appendText(b, text)
	}
	for _, date := range [...]time.Time{c.ExpiresAt, c.NotBefore, c.IssuedAt, c.AuthenticatedAt} {
		b = appendDate(b, date)
	}
	b = binary.AppendVarint(b, int64(len(c.Scopes)+len(c.Groups)+len(c.Audience)+len(c.AMR)))
	for _, list := range [...][]string{c.Scopes, c.Groups, c.Audience, c.AMR} {
		b = appendList(b, list)
	}
	b = binary.AppendVarint(b, int64(c.typed))
	return string(append(b, c.others...))
}

// Unpack writes claims that were packed into c, which is zero, and returns their seal. Both share their texts with packed.
func Unpack(packed string, c *Claims) (s Seal) {
	u := unpacker(packed)
	s.KeyNumber = uint64(u.number())
	for _, text := range []*string{&s.Type, &s.Algorithm, &c.Issuer, &c.Subject, &c.ClientID, &c.UserID, &c.ID, &c.ACR, &c.Foreign} {
		*text = u.text()
	}
	for _, date := range []*time.Time{&c.ExpiresAt, &c.NotBefore, &c.IssuedAt, &c.AuthenticatedAt} {
		*date = u.date()
	}
	room := make([]string, 0, u.number())
	for _, list := range []*[]string{&c.Scopes, &c.Groups, &c.Audience, &c.AMR} {
		*list, room = u.list(room)
	}
	c.typed = uint16(u.number())
	c.others = string(u)
	if cnf, ok := c.Get("cnf"); ok {
		c.Confirmation, _ = cnf.(map[string]any)
	}
	return s
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendVarint(b, int64(len(s))), s...)
}

// appendList tells no list from one without items.
func appendList(b []byte, list []string) []byte {
	if list == nil {
		return binary.AppendVarint(b, -1)
	}
	b = binary.AppendVarint(b, int64(len(list)))
	for _, item := range list {
		b = appendText(b, item)
	}
	return b
}

func appendDate(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return binary.AppendVarint(b, -1)
	}
	return binary.AppendVarint(binary.AppendVarint(b, int64(t.Nanosecond())), t.Unix())
}

// The kinds of values, as [DecodeObject] returns them.
const (
	packedNull = iota
	packedFalse
	packedTrue
	packedInteger
	packedNumber
	packedText
	packedTexts
	packedJSON
)

func appendValue(b []byte, value any) []byte {
	kind := func(k int64) []byte { return binary.AppendVarint(b, k) }
	switch v := value.(type) {
	case nil:
		return kind(packedNull)
	case bool:
		if v {
			return kind(packedTrue)
		}
		return kind(packedFalse)
	case int64:
		return binary.AppendVarint(kind(packedInteger), v)
	case json.Number:
		return appendText(kind(packedNumber), v.String())
	case string:
		return appendText(kind(packedText), v)
	case []string:
		return appendList(kind(packedTexts), v)
	}
	text, _ := json.Marshal(value) // it comes from a JSON parser: it has a JSON form
	return appendText(kind(packedJSON), string(text))
}

// unpacker reads what was appended, one value after the other. Each tells where it ends.
type unpacker string

func (u *unpacker) number() int64 {
	var n uint64
	for i, shift := 0, 0; ; i, shift = i+1, shift+7 {
		c := (*u)[i]
		n |= uint64(c&0x7F) << shift
		if c < 0x80 {
			*u = (*u)[i+1:]
			return int64(n>>1) ^ -int64(n&1)
		}
	}
}

func (u *unpacker) text() string {
	n := u.number()
	text := (*u)[:n]
	*u = (*u)[n:]
	return string(text)
}

// list takes the place of its items from room, if there is any, and returns the rest of it.
func (u *unpacker) list(room []string) (list, rest []string) {
	n := u.number()
	if n < 0 {
		return nil, room
	}
	if room == nil {
		room = make([]string, 0, n)
	}
	for range n {
		room = append(room, u.text())
	}
	start := len(room) - int(n)
	return room[start:len(room):len(room)], room
}

func (u *unpacker) date() time.Time {
	nanoseconds := u.number()
	if nanoseconds < 0 {
		return time.Time{}
	}
	return time.Unix(u.number(), nanoseconds)
}

func (u *unpacker) value() any {
	switch u.number() {
	case packedFalse:
		return false
	case packedTrue:
		return true
	case packedInteger:
		return u.number()
	case packedNumber:
		return json.Number(u.text())
	case packedText:
		return u.text()
	case packedTexts:
		list, _ := u.list(nil)
		return list
	case packedJSON:
		value, _ := decode(u.text())
		if object, ok := value.(Object); ok {
			return object.Map()
		}
		return value
	}
	return nil
}
