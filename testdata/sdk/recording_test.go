package sdk

import (
	"testing"
	"time"
)

// TestCloudRecording records a user into the server's own directory.
func TestCloudRecording(t *testing.T) {
	start(t)
	subscribe := object{"SubscribeUserIdList": []object{{"UserId": under.users[0], "StreamType": 0, "SourceType": 0}}}
	started := core(t, "StartRtcCloudRecording", object{"AppId": under.app, "ChannelId": under.channel,
		"RecordParams": object{"RecordMode": 0, "MaxFileDuration": 600}, "SubscribeParams": subscribe,
		"StorageParams": object{"StorageType": 1, "OSSParams": object{"OSSBucket": "local", "OSSEndpoint": "-"},
			"FileInfo": []object{{"Format": "MP4", "FilePathPrefix": []string{"sdk"}}}},
		"NotifyFileUploadedFormat": []string{"MP4"}})
	task, _ := started["TaskId"].(string)
	if task == "" {
		t.Fatalf("no TaskId in %v", started)
	}
	describe := func() (status string, files []any) {
		info, _ := core(t, "DescribeRtcCloudRecordingFiles", object{"TaskId": task})["TaskInfo"].(object)
		list, _ := info["RecordFileList"].(object)
		status, _ = info["Status"].(string)
		files, _ = list["Mp4FileList"].([]any)
		if info["TaskId"] != task || list["HlsFileList"] == nil || list["Mp3FileList"] == nil || list["VodMediaList"] == nil {
			t.Errorf("TaskInfo: %v", info)
		}
		return status, files
	}
	if status, files := describe(); status != "RUNNING" || len(files) != 0 {
		t.Errorf("at first: %s %v", status, files)
	}
	if updated := core(t, "UpdateRtcCloudRecording", object{"TaskId": task, "SubscribeParams": subscribe}); updated["TaskId"] != task {
		t.Errorf("update: %v", updated)
	}
	if stopped := core(t, "StopRtcCloudRecording", object{"TaskId": task}); stopped["TaskId"] != task {
		t.Errorf("stop: %v", stopped)
	}
	eventually(t, 20*time.Second, "the recording ends", func() (bool, any) {
		status, files := describe()
		return status == "STOPPED", append(files, status)
	})
	coreRefused(t, "StopRtcCloudRecording", object{"TaskId": "nothing"}, 404, "TaskNotExist")
}
