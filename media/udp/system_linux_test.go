package udp

// one makes the fast system send packets one by one, as it does after EIO.
func one(s system) { s.(*batches).each.Store(true) }
