package oktaauth

import (
	"context"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"golang.org/x/time/rate"
)

// The events that Caddy's events app can be subscribed to.
const (
	// EventKeysUnreachable says that fetching keys failed for the first time since it last went well. Data: issuer,
	// error.
	EventKeysUnreachable = "okta.keys_unreachable"

	// EventKeysRecovered says that keys were fetched again. Data: issuer.
	EventKeysRecovered = "okta.keys_recovered"

	// EventRefusalBurst says that an address was banned by the guard. Data: client_ip, count.
	EventRefusalBurst = "okta.refusal_burst"
)

// Events are delivered one after the other and wait for their handlers, which may be commands. So requests never
// deliver them: they leave them in a short queue, and what finds no place in it is dropped. The rate bounds what a flood
// can cause, after the first queue of it. Delivery begins when all apps have started, since the events app takes subscriptions until then.
const (
	eventQueue = 64
	eventRate  = 10 // per second
)

type event struct {
	name string
	data map[string]any
}

// emitter delivers the events of one configuration.
type emitter struct {
	ctx    caddy.Context
	app    *caddyevents.App
	queue  chan event
	cancel context.CancelFunc
}

func newEmitter(ctx caddy.Context) (*emitter, error) {
	app, err := ctx.App("events")
	if err != nil {
		return nil, err
	}
	e := &emitter{ctx: ctx, app: app.(*caddyevents.App), queue: make(chan event, eventQueue)}
	return e, e.app.On("started", e)
}

// emit queues an event. It never blocks.
func (e *emitter) emit(name string, data map[string]any) {
	select {
	case e.queue <- event{name, data}:
	default:
	}
}

// Handle begins the delivery, when Caddy says that the configuration runs.
func (e *emitter) Handle(context.Context, caddy.Event) error {
	ctx, cancel := context.WithCancel(context.Background())
	e.cancel = cancel
	go func() {
		limit := rate.NewLimiter(rate.Every(time.Second/eventRate), eventQueue)
		for {
			select {
			case <-ctx.Done():
				return
			case next := <-e.queue:
				if e.app.ShouldEmit(next.name) && limit.Allow() {
					e.app.Emit(e.ctx, next.name, next.data)
				}
			}
		}
	}()
	return nil
}

// stop ends the delivery. A handler that runs is not waited for: it may be a command that posts to the admin API of
// the configuration that is being stopped.
func (e *emitter) stop() {
	if e.cancel != nil {
		e.cancel()
	}
}
