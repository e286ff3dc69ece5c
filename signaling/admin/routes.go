package admin

import "net/http"

// table is every method of every resource; openapi.json says what each takes and gives.
func (h *Handler) table() []route {
	const app = "applications/{app}"
	get, post, put, patch, del := http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete
	return []route{
		{get, "applications", noBody, h.listApplications},
		{post, "applications", needBody, h.createApplication},
		{get, app, noBody, h.getApplication},
		{patch, app, needBody, h.patchApplication},
		{del, app, noBody, h.deleteApplication},
		{get, app + "/key", noBody, secret(h.getKeys)},
		{post, app + "/rotate-key", needBody, h.rotateKey},
		{post, app + "/rotate-signing-key", needBody, h.rotateSigningKey},

		{get, app + "/relay", noBody, h.getRelay},
		{put, app + "/relay", needBody, h.putRelay},
		{get, app + "/tasks", noBody, h.listTasks},
		{del, app + "/tasks/{task}", noBody, h.stopTask},
		{get, app + "/tasks/{task}/layout", noBody, h.getLayout},
		{put, app + "/tasks/{task}/layout", needBody, h.putLayout},
		{get, app + "/tasks/{task}/picture.jpg", noBody, h.getPicture},

		{get, "domains", noBody, h.listDomains},
		{post, "domains", needBody, h.createDomain},
		{get, "domains/{domain}", noBody, h.getDomain},
		{patch, "domains/{domain}", needBody, h.patchDomain},
		{del, "domains/{domain}", noBody, h.deleteDomain},
		{get, "domains/{domain}/key", noBody, secret(h.getDomainKey)},
		{get, "domains/{domain}/urls", noBody, secret(h.getDomainURLs)},
		{get, "origin", noBody, h.getOrigin},
		{get, "origin/urls", noBody, secret(h.getOwnURLs)},

		{get, app + "/templates", noBody, h.listTemplates},
		{post, app + "/templates", needBody, h.createTemplate},
		{get, app + "/templates/{template}", noBody, h.getTemplate},
		{put, app + "/templates/{template}", needBody, h.putTemplate},
		{del, app + "/templates/{template}", noBody, h.deleteTemplate},
		{get, "streams", noBody, h.listStreams},
		{get, "streams/{app_name}/{stream}/live.flv", noBody, h.watchStream},
		{get, "streams/{app_name}/{stream}/snapshot.jpg", noBody, h.getSnapshot},
		{get, "recordings", noBody, h.listRecordings},
		{get, "recordings/{recording}", noBody, h.getRecording},
		{get, "recordings/{recording}/content", noBody, h.getRecordingContent},
		{del, "recordings/{recording}", noBody, h.deleteRecording},

		{get, app + "/callbacks", noBody, h.listCallbacks},
		{post, app + "/callbacks", needBody, h.createCallback},
		{get, app + "/callbacks/{callback}", noBody, h.getCallback},
		{put, app + "/callbacks/{callback}", needBody, h.putCallback},
		{del, app + "/callbacks/{callback}", noBody, h.deleteCallback},
		{get, app + "/callback-records", noBody, h.listRecords},
		{get, app + "/deliveries", noBody, h.listDeliveries},
		{post, app + "/messages/{message}/resend", noBody, h.resend},

		{get, app + "/channels", noBody, h.listChannels},
		{get, app + "/channels/{channel}", noBody, h.getChannel},
		{del, app + "/channels/{channel}", noBody, h.dismissChannel},
		{del, app + "/channels/{channel}/users/{user}", noBody, h.kickUser},
		{get, app + "/channels/{channel}/users/{user}/thumbnail.jpg", noBody, h.getThumbnail},
		{post, app + "/tokens", needBody, h.makeToken},
		{get, app + "/usage", noBody, h.getUsage},

		{get, "sessions", noBody, h.listSessions},
		{get, "sessions/{session}", noBody, h.getSession},

		{get, "events", noBody, h.listEvents},
		{get, "live", noBody, h.showLive},

		{get, "administrators", noBody, h.listAdministrators},
		{post, "administrators", needBody, h.createAdministrator},
		{get, "administrators/{administrator}", noBody, h.getAdministrator},
		{patch, "administrators/{administrator}", needBody, h.patchAdministrator},
		{del, "administrators/{administrator}", noBody, h.deleteAdministrator},
		{post, "setup-link", noBody, h.makeSetupLink},
		{get, "audit", noBody, h.listAudit},
		{get, "node", noBody, h.getNode},
	}
}
