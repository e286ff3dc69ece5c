"""A WHIP publisher and a WHEP player made of GStreamer's webrtcbin.

    python3 gst.py publish URL TOKEN h264|vp8    publishes a test picture and a tone
    python3 gst.py watch URL TOKEN h264|vp8 FILE plays into a Matroska file, as received

Runs until its standard input ends, then ends the session with DELETE. Prints
JSON lines: {"connected": true}, and for a player {"frames": N, "sounds": N}.
Ends with status 77 when GStreamer or one of its elements is missing.
"""
import json
import sys
import threading
import urllib.parse
import urllib.request

try:
    import gi
    gi.require_version("Gst", "1.0")
    gi.require_version("GstWebRTC", "1.0")
    gi.require_version("GstSdp", "1.0")
    from gi.repository import Gst, GstSdp, GstWebRTC
    Gst.init(None)
except (ImportError, ValueError) as missing:
    print(f"GStreamer for Python is missing: {missing}", file=sys.stderr)
    sys.exit(77)

VIDEO = {
    "h264": "x264enc tune=zerolatency speed-preset=ultrafast bitrate=600 key-int-max=60 bframes=0"
            " ! video/x-h264,profile=constrained-baseline ! rtph264pay config-interval=-1 aggregate-mode=zero-latency pt=96",
    "vp8": "vp8enc deadline=1 target-bitrate=600000 keyframe-max-dist=60 ! rtpvp8pay picture-id-mode=2 pt=96",
}
RTP = {
    "h264": "application/x-rtp,media=video,clock-rate=90000,encoding-name=H264,payload=96,packetization-mode=(string)1,"
            "profile-level-id=(string)42e01f,rtcp-fb-nack-pli=(boolean)true",
    "vp8": "application/x-rtp,media=video,clock-rate=90000,encoding-name=VP8,payload=96,rtcp-fb-nack-pli=(boolean)true",
    "opus": "application/x-rtp,media=audio,clock-rate=48000,encoding-name=OPUS,encoding-params=(string)2,payload=97",
}
STORE = {  # one stream each: no time stamp of another's is waited for
    "H264": "rtph264depay ! h264parse ! matroskamux ! filesink async=false location={file}",
    "VP8": "rtpvp8depay ! matroskamux ! filesink async=false location={file}",
    "OPUS": "rtpopusdepay ! fakesink async=false",
}
NEEDED = ["webrtcbin", "nicesrc", "dtlsdec", "srtpdec", "x264enc", "vp8enc", "opusenc", "rtph264pay", "rtpvp8depay", "h264parse", "matroskamux"]


def say(**words):
    print(json.dumps(words), flush=True)


class Session:
    """One offer, one answer, DELETE at the end."""

    def __init__(self, pipeline, url, token):
        self.pipeline, self.url, self.token, self.location = pipeline, url, token, None
        self.rtc = pipeline.get_by_name("rtc")
        self.gathered = threading.Event()
        self.wanted = threading.Event()
        self.rtc.connect("on-negotiation-needed", lambda _: self.wanted.set())
        self.rtc.connect("notify::ice-gathering-state", self.gathering)
        self.rtc.connect("notify::connection-state", self.connection)

    def gathering(self, rtc, _):
        if rtc.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            self.gathered.set()

    def connection(self, rtc, _):
        state = rtc.get_property("connection-state")
        if state == GstWebRTC.WebRTCPeerConnectionState.CONNECTED:
            say(connected=True)
        elif state == GstWebRTC.WebRTCPeerConnectionState.FAILED:
            say(failed=True)

    def open(self):
        self.pipeline.set_state(Gst.State.PLAYING)
        if not self.wanted.wait(10):
            sys.exit(f"webrtcbin wants no negotiation within 10 s{self.trouble()}")
        promise = Gst.Promise.new()
        self.rtc.emit("create-offer", None, promise)
        promise.wait()
        reply = promise.get_reply()
        if not reply.has_field("offer"):
            sys.exit(f"webrtcbin makes no offer: {reply.to_string()}")
        offer = reply.get_value("offer")
        self.rtc.emit("set-local-description", offer, Gst.Promise.new())
        if not self.gathered.wait(10):
            sys.exit("ICE does not gather within 10 s")
        text = self.rtc.get_property("local-description").sdp.as_text()
        answer = self.request("POST", self.url, text.encode(), {"Content-Type": "application/sdp"})
        _, sdp = GstSdp.SDPMessage.new_from_text(answer)
        description = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, sdp)
        self.rtc.emit("set-remote-description", description, Gst.Promise.new())

    def trouble(self):
        message = self.pipeline.get_bus().pop_filtered(Gst.MessageType.ERROR)
        return f": {message.parse_error()}" if message else ""

    def request(self, method, url, body=None, headers=None):
        request = urllib.request.Request(url, body, {"Authorization": f"Bearer {self.token}", **(headers or {})}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                if method == "POST":
                    self.location = urllib.parse.urljoin(url, response.headers["Location"])
                return response.read().decode()
        except urllib.error.HTTPError as refused:
            sys.exit(f"{method} {url}: {refused} {refused.read().decode()}")

    def close(self):
        if self.location:
            self.request("DELETE", self.location)
        self.pipeline.set_state(Gst.State.NULL)


def rtp(media, name, number):
    return f"application/x-rtp,media={media},encoding-name={name},payload={number}"


def publisher(codec):
    return Gst.parse_launch(
        "webrtcbin name=rtc bundle-policy=max-bundle"
        f" videotestsrc is-live=true pattern=ball ! video/x-raw,width=640,height=360,framerate=30/1 ! {VIDEO[codec]} ! queue ! {rtp('video', codec.upper(), 96)} ! rtc."
        f" audiotestsrc is-live=true ! audioconvert ! audioresample ! opusenc ! rtpopuspay pt=97 ! queue ! {rtp('audio', 'OPUS', 97)} ! rtc.")


def player(codec, file):
    pipeline, rtc = Gst.Pipeline.new(), Gst.ElementFactory.make("webrtcbin", "rtc")
    rtc.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
    pipeline.add(rtc)
    count = {"frames": 0, "sounds": 0}

    def arrived(_, pad):
        name = pad.get_current_caps().get_structure(0).get_string("encoding-name")
        sink = Gst.parse_bin_from_description("queue ! " + STORE[name].format(file=file), True)
        pipeline.add(sink)
        sink.sync_state_with_parent()
        kind, seen = ("sounds" if name == "OPUS" else "frames"), set()

        def packet(_, info):
            buffer = info.get_buffer()
            seen.add(buffer.pts)  # packets of one picture share it
            if len(seen) > count[kind]:
                count[kind] = len(seen)
                if count[kind] % 15 == 0:
                    say(**count)
            return Gst.PadProbeReturn.OK

        pad.add_probe(Gst.PadProbeType.BUFFER, packet)
        pad.link(sink.get_static_pad("sink"))

    rtc.connect("pad-added", arrived)
    for kind in (codec, "opus"):
        rtc.emit("add-transceiver", GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY, Gst.Caps.from_string(RTP[kind]))
    return pipeline


def main():
    missing = [name for name in NEEDED if Gst.ElementFactory.find(name) is None]
    if missing:
        print(f"GStreamer lacks {', '.join(missing)}", file=sys.stderr)
        sys.exit(77)
    if sys.argv[1:] == ["check"]:
        return
    kind, url, token, codec = sys.argv[1:5]
    session = Session(publisher(codec) if kind == "publish" else player(codec, sys.argv[5]), url, token)
    session.open()
    sys.stdin.read()
    session.close()


main()
