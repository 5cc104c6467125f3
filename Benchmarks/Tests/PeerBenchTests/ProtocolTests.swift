import Foundation
import PeerProtocol
import Testing

/// What goes over the line, byte by byte.
struct ProtocolTests {
  private var work: PeerCase {
    PeerCase(
      strategy: "window(512)", heads: 8, kvHeads: 2, nQ: 1, nKv: 4096, headDim: 64, valueDim: 64,
      causal: true, dtype: "bf16", threads: 2)
  }

  private func text(_ value: some Encodable) throws -> String {
    String(decoding: try PeerLine.encoded(value), as: UTF8.self)
  }

  @Test func requestsAreOneFlatLineOfSnakeCase() throws {
    #expect(
      try text(PeerRequest.hello(places: [[0], [1, 2]]))
        == #"{"command":"hello","places":[[0],[1,2]],"version":1}"# + "\n")
    #expect(
      try text(PeerRequest.run(warm: 3, repeats: 12))
        == #"{"command":"run","repeats":12,"warm":3}"# + "\n")
    #expect(
      try text(PeerRequest.output(to: "/dev/shm/o.npy"))
        == #"{"command":"output","path":"/dev/shm/o.npy"}"# + "\n")
    var windowed = work
    windowed.window = 512
    #expect(
      try text(PeerRequest.serves(windowed))
        == #"{"case":{"additive":false,"batch":1,"causal":true,"dtype":"bf16","head_dim":64,"#
        + #""heads":8,"kv_heads":2,"linear":false,"n_kv":4096,"n_q":1,"strategy":"window(512)","threads":2,"value_dim":64,"#
        + #""window":512},"command":"serves"}"# + "\n")
  }

  @Test func aRecurrenceIsToldByItsRule() throws {
    var recurrent = work
    recurrent.rule = "gated_delta"
    let line = try PeerLine.encoded(PeerRequest.serves(recurrent))
    #expect(String(decoding: line, as: UTF8.self).contains(#""rule":"gated_delta""#))
    #expect(try PeerLine.decoded(line, as: PeerRequest.self).case?.rule == "gated_delta")
    #expect(try !text(PeerRequest.serves(work)).contains("rule"))
  }

  @Test func aSelectionIsToldWithItsSizes() throws {
    var selected = work
    (selected.selection, selected.block, selected.top, selected.rows) = (.blocks, 64, 16, 1)
    let line = try text(PeerRequest.serves(selected))
    for part in [#""selection":"blocks""#, #""block":64"#, #""top":16"#, #""rows":1"#] {
      #expect(line.contains(part), "\(line)")
    }
    #expect(try PeerLine.decoded(Data(line.utf8), as: PeerRequest.self).case == selected)
    #expect(try !text(PeerRequest.serves(work)).contains("selection"))
  }

  @Test(arguments: PeerRequest.Command.allCases)
  func everyRequestIsReadAsItWasWritten(command: PeerRequest.Command) throws {
    var request = PeerRequest(command)
    request.case = work
    request.operands = ["index_q": "/a/b.npy", "query": "q \"quoted\" \n.npy"]
    request.warm = 0
    let line = try PeerLine.encoded(request)
    #expect(line.filter { $0 == UInt8(ascii: "\n") }.count == 1)
    #expect(try PeerLine.decoded(line) == request)
  }

  @Test func aMissingArgumentIsNamed() throws {
    let request = try PeerLine.decoded(
      Data(#"{"command":"run","warm":1}"#.utf8), as: PeerRequest.self)
    let error = #expect(throws: PeerRequestError.self) { try request.needed(\.repeats, "repeats") }
    #expect(error?.description == "run: repeats is missing")
    #expect(throws: (any Error).self) {
      try PeerLine.decoded(Data(#"{"command":"dance"}"#.utf8), as: PeerRequest.self)
    }
  }

  @Test func answersAreReadWithWhatALibraryLeavesOut() throws {
    let hello: PeerHello = try PeerLine.decoded(
      Data(#"{"library":"onnxruntime","version":"1.31.1"}"#.utf8))
    #expect(hello == PeerHello(library: "onnxruntime", version: "1.31.1"))
    let times: PeerTimes = try PeerLine.decoded(Data(#"{"wall_ns":[5,7],"cpu_ns":[9,8]}"#.utf8))
    #expect(times == PeerTimes(wallNs: [5, 7], cpuNs: [9, 8]))
    let offer: PeerOffer = try PeerLine.decoded(
      Data(#"{"serves":false,"reason":"fp32 only","scratch_bytes":12}"#.utf8))
    #expect(offer == PeerOffer(serves: false, reason: "fp32 only", scratchBytes: 12))
  }
}
