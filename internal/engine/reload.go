package engine

// live returns the options of the moment.
func (e *Engine) live() *Options { return e.current.Load() }

// Reload changes options while runs are worked on: Connections, Match, Settings,
// Lookups, Quiet, TellAfter, Attempts, Notify, Mask and RunURL. The others stay
// as they are. A step under way ends with the connection that it began with, and
// a replay under way with the settings.
func (e *Engine) Reload(change func(*Options)) {
	o := *e.live()
	change(&o)
	e.current.Store(&o)
	e.armTeller(e.o.Clock().Add(o.TellAfter))
}
