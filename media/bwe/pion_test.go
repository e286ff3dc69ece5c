package bwe

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/gcc"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

// pions is the estimator of Pion's interceptors, in the same simulator, to have
// something to compare with. It reads the clock, so it runs in a bubble.
type pions struct {
	t      *testing.T
	start  time.Time
	bwe    *gcc.SendSideBWE
	writer interceptor.RTPWriter
	before time.Duration
}

func newPions(t *testing.T, most int) *pions {
	p := &pions{t: t, start: time.Now()}
	b, err := gcc.NewSendSideBWE(gcc.SendSideBWEInitialBitrate(DefaultStart), gcc.SendSideBWEMinBitrate(DefaultMin),
		gcc.SendSideBWEMaxBitrate(most), gcc.SendSideBWEPacer(gcc.NewNoOpPacer()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	p.bwe = b
	p.writer = b.AddStream(&interceptor.StreamInfo{SSRC: 1, RTPHeaderExtensions: []interceptor.RTPHeaderExtension{{
		URI: "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01", ID: 1}}},
		interceptor.RTPWriterFunc(func(*rtp.Header, []byte, interceptor.Attributes) (int, error) { return 0, nil }))
	return p
}

func (p *pions) sent(number uint16, size int, _ time.Duration) {
	h := rtp.Header{Version: 2, SSRC: 1}
	ext, _ := (&rtp.TransportCCExtension{TransportSequence: number}).Marshal()
	if err := h.SetExtension(1, ext); err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.writer.Write(&h, make([]byte, max(size-h.MarshalSize(), 0)), nil); err != nil {
		p.t.Fatal(err)
	}
}

func (p *pions) feedback(raw []byte, _ time.Duration) {
	packets, err := rtcp.Unmarshal(raw)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.bwe.WriteRTCP(packets, nil); err != nil {
		p.t.Fatal(err)
	}
	synctest.Wait()
}

func (p *pions) estimate(at time.Duration) Estimate {
	time.Sleep(p.start.Add(at).Sub(time.Now())) // of the bubble: it is the simulator that lets time pass
	return Estimate{Rate: p.bwe.GetTargetBitrate()}
}

func (p *pions) probe(int, time.Duration) Probe { return Probe{} }
