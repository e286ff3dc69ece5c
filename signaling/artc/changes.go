package artc

import (
	"slices"
	"strings"
)

// Change is what somebody changed, or was refused to.
type Change struct {
	KeyID  string // of the access key
	Action string // such as StartLiveMPUTask
	App    string
	Object string // "ChannelId=room TaskId=t1": what names it
	Status int    // of the answer
}

// naming are the parameters that name what an action is about, none of which is
// a secret.
var naming = []string{"ChannelId", "TaskId", "SubscribeId", "UserId", "TerminalIds.1"}

// changeOf is the change that a request asks for; the zero value for an action
// that only reads, and for SetLiveMpuTaskSei, which applications send all the time.
func changeOf(act action, keyID string, params map[string]string) Change {
	reads := slices.ContainsFunc([]string{"Describe", "List", "Query", "SetLiveMpuTaskSei"}, func(p string) bool { return strings.HasPrefix(act.name, p) })
	if reads {
		return Change{}
	}
	c := Change{KeyID: keyID, Action: act.name, App: params["AppId"]}
	for _, name := range naming {
		if v := params[name]; v != "" {
			c.Object += " " + name + "=" + v
		}
	}
	c.Object = strings.TrimPrefix(c.Object, " ")
	return c
}
