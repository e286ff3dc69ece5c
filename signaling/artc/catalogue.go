package artc

// action is one entry of the catalogue.
type action struct {
	name   string
	qps    int // calls a second that one access key may make, as documented; 0: none is given
	family family
	run    func(*Handler, *call) (reply, error)
}

// catalogue is what this API answers to: artc-api.md section 2.
func catalogue() []action {
	return []action{
		// Channels and users.
		{"DescribeChannelUsers", 100, mpu, (*Handler).describeChannelUsers},
		{"DescribeChannelParticipants", 100, mpu, (*Handler).describeChannelParticipants},
		{"ListRTCLiveRooms", 0, mpu, (*Handler).listRooms},
		{"RemoveTerminals", 100, mpu, (*Handler).removeTerminals},
		{"DeleteChannel", 100, deleteChannel, (*Handler).deleteChannel},

		// Ingest into a channel.
		{"CreateRTCWhipStreamAddress", 40, mpu, (*Handler).createWHIPAddress},
		{"CreateRoomRealTimeStreamAddress", 100, mpu, (*Handler).createRTMPAddress},

		// Stream relay.
		{"StartLiveMPUTask", 500, mpu, (*Handler).startTask},
		{"UpdateLiveMPUTask", 500, mpu, (*Handler).updateTask},
		{"StopLiveMPUTask", 500, mpu, (*Handler).stopTask},
		{"SetLiveMpuTaskSei", 50, mpu, (*Handler).setTaskSEI},
		{"ListRtcMPUTaskDetail", 50, mpu, (*Handler).listTasks},

		// Channel and user callbacks.
		{"CreateEventSub", 100, eventSub, (*Handler).createEventSub},
		{"UpdateEventSub", 50, eventSub, (*Handler).updateEventSub},
		{"DeleteEventSub", 100, eventSub, (*Handler).deleteEventSub},
		{"ListEventSub", 50, eventSub, (*Handler).listEventSub},
		{"ListEventSubEvent", 50, eventSub, (*Handler).listEventSubEvent},

		// Stream relay callbacks.
		{"CreateRtcMPUEventSub", 50, mpu, (*Handler).createMPUSub},
		{"UpdateRtcMPUEventSub", 50, mpu, (*Handler).updateMPUSub},
		{"DeleteRtcMPUEventSub", 50, mpu, (*Handler).deleteMPUSub},
		{"DescribeRtcMPUEventSub", 50, mpu, (*Handler).describeMPUSub},
		{"ListRtcMPUEventSubRecord", 100, mpu, (*Handler).listMPURecords},

		// Usage.
		{"DescribeMeterLiveBypassDuration", 10, mpu, (*Handler).relayMinutes},
		{"DescribeLiveGrtnDuration", 10, mpu, (*Handler).callMinutes},

		// Cloud recording.
		{"StartRtcCloudRecording", 0, mpu, (*Handler).startRecording},
		{"UpdateRtcCloudRecording", 50, mpu, (*Handler).updateRecording},
		{"StopRtcCloudRecording", 50, mpu, (*Handler).stopRecording},
		{"DescribeRtcCloudRecordingFiles", 50, mpu, (*Handler).describeRecording},

		// Known and not there yet.
		{"DescribeLiveRtcRecordUsageData", 10, mpu, notYet(recording, "AppId", "StartTime", "EndTime", "RecordMode")},
		{"StartRtcCloudTranscode", 0, mpu, notYet(transcoding, "AppId", "ChannelId", "InputParam", "OutputParams")},
		{"StopRtcCloudTranscode", 0, mpu, notYet(transcoding, "AppId", "TaskId")},
		{"DescribeRtcCloudTranscode", 0, mpu, notYet(transcoding, "AppId", "TaskId")},
		{"CreateRtcAsrTask", 20, asr, (*Handler).createASRTask},
		{"StopRtcAsrTask", 20, asr, notYet(subtitles, "TaskId")},
		{"QueryRtcAsrTasks", 20, asr, notYet(subtitles)},
		{"DeleteRtcAsrTask", 20, asr, notYet(subtitles, "TaskId")},
		{"DescribeLiveInteractionMetricData", 50, mpu, (*Handler).qualityMetric},
	}
}
