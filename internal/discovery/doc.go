// Package discovery asks an issuer what it publishes about itself.
//
// A [Client] fetches documents under rules that are the same for all of them: from where ([CheckURL]), over what
// ([Transport]), redirected how far, how large. [Client.Find] looks for the metadata of an issuer (OpenID Connect
// Discovery 1.0, RFC 8414) and believes only what names that very issuer; [Metadata.Endpoint] then tells where the
// issuer's keys or its introspection are.
//
// Nothing here is remembered or repeated: when to ask again is the caller's to know.
package discovery
