package jwt

import (
	"encoding/binary"
	"encoding/json"
	"time"
)

// Packed is all that [Claims] say, in one text. A cache keeps a hundred thousand of them: the garbage collector has
// nothing to follow in a text, and follows the objects of as many Claims for a third of a second at a time.
type Packed string

// Pack returns c for a cache.
func (c *Claims) Pack() Packed {
	p := make(packer, 0, 512)
	for _, text := range []string{c.Issuer, c.Subject, c.ClientID, c.UserID, c.ID, c.ACR, c.Foreign} {
		p.text(text)
	}
	for _, date := range []time.Time{c.ExpiresAt, c.NotBefore, c.IssuedAt, c.AuthenticatedAt} {
		p.date(date)
	}
	lists := [][]string{c.Scopes, c.Groups, c.Audience, c.AMR}
	items := 0
	for _, list := range lists {
		items += len(list)
	}
	p.number(int64(items))
	for _, list := range lists {
		p.list(list)
	}
	p.number(int64(c.typed))
	return Packed(append(p, c.others...))
}

// Unpack writes what was packed into c, which is zero. They share their texts with p.
func (p Packed) Unpack(c *Claims) {
	u := unpacker(p)
	for _, text := range []*string{&c.Issuer, &c.Subject, &c.ClientID, &c.UserID, &c.ID, &c.ACR, &c.Foreign} {
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
}

// packer writes values one after the other. Each tells where it ends.
type packer []byte

func (p *packer) number(n int64) { *p = binary.AppendVarint(*p, n) }

func (p *packer) text(s string) {
	p.number(int64(len(s)))
	*p = append(*p, s...)
}

// list tells no list from one without items.
func (p *packer) list(list []string) {
	if list == nil {
		p.number(-1)
		return
	}
	p.number(int64(len(list)))
	for _, item := range list {
		p.text(item)
	}
}

func (p *packer) date(t time.Time) {
	if t.IsZero() {
		p.number(-1)
		return
	}
	p.number(int64(t.Nanosecond()))
	p.number(t.Unix())
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

func (p *packer) value(value any) {
	switch v := value.(type) {
	case nil:
		p.number(packedNull)
	case bool:
		kind := int64(packedFalse)
		if v {
			kind = packedTrue
		}
		p.number(kind)
	case int64:
		p.number(packedInteger)
		p.number(v)
	case json.Number:
		p.number(packedNumber)
		p.text(v.String())
	case string:
		p.number(packedText)
		p.text(v)
	case []string:
		p.number(packedTexts)
		p.list(v)
	default:
		text, _ := json.Marshal(v) // it comes from a JSON parser: it has a JSON form
		p.number(packedJSON)
		p.text(string(text))
	}
}

// unpacker reads what packer wrote.
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
		value, _ := decode([]byte(u.text()))
		return value
	}
	return nil
}
