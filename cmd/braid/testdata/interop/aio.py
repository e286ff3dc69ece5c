"""A WHIP publisher and a WHEP player made of aiortc.

    python3 aio.py publish URL TOKEN h264|vp8       publishes a test picture and a tone
    python3 aio.py watch URL TOKEN h264|vp8 FILE    plays and decodes; FILE gets the pictures, as Y4M, 120 at most

Runs until its standard input ends, then ends the session with DELETE. Prints
JSON lines: {"connected": true}, and for a player {"frames": N, "sounds": N}.
Ends with status 77 when aiortc is missing.
"""
import asyncio
import json
import sys
import urllib.error
import urllib.parse
import urllib.request

try:
    from aiortc import RTCPeerConnection, RTCRtpReceiver, RTCRtpSender, RTCSessionDescription
    from aiortc.contrib.media import MediaPlayer
    from aiortc.mediastreams import MediaStreamError
except ImportError as missing:
    print(f"aiortc is missing: {missing}", file=sys.stderr)
    sys.exit(77)


def say(**words):
    print(json.dumps(words), flush=True)


def request(method, url, token, body=None):
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/sdp"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers, method=method), timeout=10) as response:
            return response.read().decode(), urllib.parse.urljoin(url, response.headers.get("Location", ""))
    except urllib.error.HTTPError as refused:
        sys.exit(f"{method} {url}: {refused} {refused.read().decode()}")


def only(capabilities, codec):
    """The codec alone, with its retransmissions."""
    return [c for c in capabilities.codecs if c.mimeType.lower() in (f"video/{codec}", "video/rtx")]


async def play(track, kind, count, file):
    while True:
        try:
            frame = await track.recv()
        except MediaStreamError:
            return
        count[kind] += 1
        if count[kind] % 15 == 0:
            say(**count)
        if kind == "frames" and count[kind] <= 120:
            if count[kind] == 1:
                file.write(b"YUV4MPEG2 W%d H%d F30:1 C420jpeg\n" % (frame.width, frame.height))
                size = frame.width, frame.height
            if size == (frame.width, frame.height):
                file.write(b"FRAME\n" + frame.to_ndarray(format="yuv420p").tobytes())


def publisher(pc, codec):
    # testsrc shows a counter and colours that move; the time base of lavfi is not real time: it is paced.
    picture = MediaPlayer("testsrc=size=640x360:rate=30", format="lavfi")
    sound = MediaPlayer("sine=frequency=440:sample_rate=48000", format="lavfi")
    pc.addTransceiver(picture.video, "sendonly").setCodecPreferences(only(RTCRtpSender.getCapabilities("video"), codec))
    pc.addTransceiver(sound.audio, "sendonly")
    return picture, sound


def player(pc, codec, file):
    pc.addTransceiver("video", "recvonly").setCodecPreferences(only(RTCRtpReceiver.getCapabilities("video"), codec))
    pc.addTransceiver("audio", "recvonly")
    count, out = {"frames": 0, "sounds": 0}, open(file, "wb")
    pc.on("track", lambda track: asyncio.ensure_future(play(track, "frames" if track.kind == "video" else "sounds", count, out)))
    return out


async def main():
    if sys.argv[1:] == ["check"]:
        return
    kind, url, token, codec = sys.argv[1:5]
    pc = RTCPeerConnection()
    pc.on("connectionstatechange", lambda: say(**{pc.connectionState: True}))
    keep = publisher(pc, codec) if kind == "publish" else player(pc, codec, sys.argv[5])
    await pc.setLocalDescription(await pc.createOffer())
    answer, session = request("POST", url, token, pc.localDescription.sdp.encode())
    await pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    await asyncio.get_event_loop().run_in_executor(None, sys.stdin.read)
    request("DELETE", session, token)
    await pc.close()
    if kind == "watch":
        keep.close()


asyncio.run(main())
