package rtmp

// What a client asks of Enhanced RTMP in connect (version 2, "Enhancing
// NetConnection connect Command"): the codecs that it knows by their FourCC. The
// server answers in the same words with what it passes on, which is anything, so
// that an encoder that waits to hear so sends HEVC or AV1. A client that asks for
// nothing gets the answer of 1996.

// FourCcInfoMask: the server passes the codec on, it neither decodes nor encodes.
const canForward = 4

var (
	videoFourCCs = []string{"avc1", "hvc1", "av01", "vp09", "vp08"}
	soundFourCCs = []string{"mp4a", "Opus", "ac-3", "ec-3", "fLaC", ".mp3"}
)

// connected is the first object of the answer to connect.
type connected struct {
	FMSVer       string `amf0:"fmsVer"` // some clients parse it as Flash Media Server's
	Capabilities int    `amf0:"capabilities"`
}

// enhancedConnected is that for clients of Enhanced RTMP. capsEx is left out: no
// extension beyond the codecs is promised.
type enhancedConnected struct {
	FMSVer       string         `amf0:"fmsVer"`
	Capabilities int            `amf0:"capabilities"`
	FourCCs      []string       `amf0:"fourCcList"`
	Video        map[string]int `amf0:"videoFourCcInfoMap"`
	Sound        map[string]int `amf0:"audioFourCcInfoMap"`
}

// greeting answers the object of a client's connect.
func greeting(asked object) any {
	plain := connected{"FMS/3,0,1,123", 31}
	for _, word := range []string{"fourCcList", "videoFourCcInfoMap", "audioFourCcInfoMap"} {
		if asked[word] != nil {
			return enhancedConnected{plain.FMSVer, plain.Capabilities, append(videoFourCCs[:len(videoFourCCs):len(videoFourCCs)], soundFourCCs...),
				forwarded(videoFourCCs), forwarded(soundFourCCs)}
		}
	}
	return plain
}

func forwarded(fourCCs []string) map[string]int {
	m := make(map[string]int, len(fourCCs))
	for _, cc := range fourCCs {
		m[cc] = canForward
	}
	return m
}
