package celpolicy

import (
	"fmt"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // time zones work on machines that have none

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// zoneCache holds the time zones that expressions name literally, so that no evaluation reads them from disk. Zones
// that are values are looked up each time: they do not fill the memory.
type zoneCache struct {
	zones sync.Map // of *time.Location, by name
}

// remember reports a wrong time zone and keeps a right one.
func (c *zoneCache) remember(name string) error {
	location, err := loadZone(name)
	if err != nil {
		return err
	}
	c.zones.Store(name, location)
	return nil
}

func (c *zoneCache) find(name string) (*time.Location, error) {
	if location, ok := c.zones.Load(name); ok {
		return location.(*time.Location), nil
	}
	return loadZone(name)
}

// loadZone reads the name of a zone, or an offset such as +02:00.
func loadZone(name string) (*time.Location, error) {
	if strings.Contains(name, ":") {
		signed := name
		if name[0] != '+' && name[0] != '-' {
			signed = "+" + name
		}
		offset, err := time.Parse("-07:00", signed)
		if err != nil {
			return nil, fmt.Errorf("%q is not an offset from UTC such as +02:00", name)
		}
		return offset.Location(), nil
	}
	location, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("%q is not a time zone such as Europe/Berlin", name)
	}
	return location, nil
}

// zoneGetter is a method of timestamps that takes a time zone.
type zoneGetter struct {
	overload string
	get      func(time.Time) int
}

var zoneGetters = map[string]zoneGetter{
	overloads.TimeGetFullYear:     {overloads.TimestampToYearWithTz, time.Time.Year},
	overloads.TimeGetMonth:        {overloads.TimestampToMonthWithTz, func(t time.Time) int { return int(t.Month()) - 1 }},
	overloads.TimeGetDayOfYear:    {overloads.TimestampToDayOfYearWithTz, func(t time.Time) int { return t.YearDay() - 1 }},
	overloads.TimeGetDayOfMonth:   {overloads.TimestampToDayOfMonthZeroBasedWithTz, func(t time.Time) int { return t.Day() - 1 }},
	overloads.TimeGetDate:         {overloads.TimestampToDayOfMonthOneBasedWithTz, time.Time.Day},
	overloads.TimeGetDayOfWeek:    {overloads.TimestampToDayOfWeekWithTz, func(t time.Time) int { return int(t.Weekday()) }},
	overloads.TimeGetHours:        {overloads.TimestampToHoursWithTz, time.Time.Hour},
	overloads.TimeGetMinutes:      {overloads.TimestampToMinutesWithTz, time.Time.Minute},
	overloads.TimeGetSeconds:      {overloads.TimestampToSecondsWithTz, time.Time.Second},
	overloads.TimeGetMilliseconds: {overloads.TimestampToMillisecondsWithTz, func(t time.Time) int { return t.Nanosecond() / 1e6 }},
}

// library gives the standard methods their meaning through the cache.
func (c *zoneCache) library() cel.EnvOption {
	return func(env *cel.Env) (*cel.Env, error) {
		for name, getter := range zoneGetters {
			bind := cel.BinaryBinding(func(at, zone ref.Val) ref.Val {
				location, err := c.find(string(zone.(types.String)))
				if err != nil {
					return types.WrapErr(err)
				}
				return types.Int(getter.get(at.(types.Timestamp).In(location)))
			})
			option := cel.Function(name, cel.MemberOverload(getter.overload,
				[]*cel.Type{cel.TimestampType, cel.StringType}, cel.IntType, bind))
			var err error
			if env, err = option(env); err != nil {
				return nil, err
			}
		}
		return env, nil
	}
}
