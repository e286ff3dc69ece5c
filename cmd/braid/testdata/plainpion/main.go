// plainpion is what braid's forwarding is measured against: WHIP in, WHEP out, or
// one connection up and one down for each user of a conference (room.go), by
// TrackLocalStaticRTP.WriteRTP with Pion's default interceptors, as most servers
// in Go begin. AEAD_AES_128_GCM comes first, as with braid.
//
// It is no server for people: it checks no token and forgets nothing.
package main

import (
	"expvar"
	"flag"
	"io"
	"log"
	"net"
	"net/http"
	"sync"

	"github.com/pion/dtls/v3"
	"github.com/pion/interceptor"
	"github.com/pion/logging"
	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"
)

type forwarder struct {
	mu     sync.Mutex
	tracks map[string][]*webrtc.TrackLocalStaticRTP // by the publisher's path
}

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "HTTP `address`")
	debug := flag.String("debug", "", "memory counters' `address`; empty: nowhere")
	flag.Parse()
	if *debug != "" {
		go func() { log.Fatal(http.ListenAndServe(*debug, expvar.Handler())) }()
	}
	f := &forwarder{tracks: map[string][]*webrtc.TrackLocalStaticRTP{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /whip/{path...}", f.publish)
	mux.HandleFunc("POST /whep/{path...}", f.watch)
	mux.HandleFunc("GET /v1/rtc", f.meet)
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.Serve(l, mux))
}

func (f *forwarder) peer() (*webrtc.PeerConnection, error) {
	media := &webrtc.MediaEngine{}
	if err := media.RegisterDefaultCodecs(); err != nil {
		return nil, err
	}
	registry := &interceptor.Registry{}
	if err := webrtc.RegisterDefaultInterceptors(media, registry); err != nil {
		return nil, err
	}
	s := webrtc.SettingEngine{LoggerFactory: &logging.DefaultLoggerFactory{Writer: io.Discard}}
	s.SetLite(true)
	s.SetIncludeLoopbackCandidate(true)
	s.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	s.SetSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80)
	return webrtc.NewAPI(webrtc.WithMediaEngine(media), webrtc.WithInterceptorRegistry(registry), webrtc.WithSettingEngine(s)).
		NewPeerConnection(webrtc.Configuration{})
}

func (f *forwarder) publish(w http.ResponseWriter, r *http.Request) {
	pc, err := f.peer()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	pc.OnTrack(f.forward(pc, r.PathValue("path")))
	f.answer(w, r, pc)
}

// forward is for the tracks that a publisher's connection brings.
func (f *forwarder) forward(pc *webrtc.PeerConnection, path string) func(*webrtc.TrackRemote, *webrtc.RTPReceiver) {
	return func(remote *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		local, err := webrtc.NewTrackLocalStaticRTP(remote.Codec().RTPCodecCapability, path+"/"+remote.Kind().String(), path)
		if err != nil {
			log.Print(err)
			return
		}
		f.mu.Lock()
		f.tracks[path] = append(f.tracks[path], local)
		f.mu.Unlock()
		ask := func() { pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(remote.SSRC())}}) }
		ask()
		for {
			p, _, err := remote.ReadRTP()
			if err != nil {
				return
			}
			p.Extension, p.Extensions = false, nil // they belong to the publisher's session
			if local.WriteRTP(p) == io.ErrClosedPipe {
				return
			}
		}
	}
}

func (f *forwarder) watch(w http.ResponseWriter, r *http.Request) {
	pc, err := f.peer()
	if err == nil {
		err = f.add(pc, r.PathValue("path"))
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	f.answer(w, r, pc)
}

// add lets a viewer's connection carry a publisher's tracks.
func (f *forwarder) add(pc *webrtc.PeerConnection, path string) error {
	f.mu.Lock()
	tracks := f.tracks[path]
	f.mu.Unlock()
	for _, t := range tracks {
		sender, err := pc.AddTrack(t)
		if err != nil {
			return err
		}
		go func() { // drives the interceptors
			b := make([]byte, 1500)
			for {
				if _, _, err := sender.Read(b); err != nil {
					return
				}
			}
		}()
	}
	return nil
}

// accept makes the answer to an offer.
func accept(pc *webrtc.PeerConnection, offer string) (string, error) {
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		return "", err
	}
	answer, err := pc.CreateAnswer(nil)
	if err != nil {
		return "", err
	}
	return settle(pc, answer)
}

// settle sets a description of the server's, and gives it with its candidates.
func settle(pc *webrtc.PeerConnection, d webrtc.SessionDescription) (string, error) {
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(d); err != nil {
		return "", err
	}
	<-gathered
	return pc.LocalDescription().SDP, nil
}

func (f *forwarder) answer(w http.ResponseWriter, r *http.Request, pc *webrtc.PeerConnection) {
	offer, err := io.ReadAll(r.Body)
	var answer string
	if err == nil {
		answer, err = accept(pc, string(offer))
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/sdp")
	w.WriteHeader(http.StatusCreated)
	io.WriteString(w, answer)
}
