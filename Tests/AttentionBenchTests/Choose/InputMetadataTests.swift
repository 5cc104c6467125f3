import Attention
import AttentionBench
import Testing

/// What a file's strings say of its attention.
@Suite struct InputMetadataTests {
  private func read(_ strings: [String: String]) throws -> InputMetadata {
    try InputMetadata(strings, path: "qkv.safetensors")
  }

  @Test func nothingIsNothing() throws {
    let metadata = try read(["layout": "heads,n,head_dim"])
    #expect(metadata.model == nil)
    #expect(metadata.attention(of: "layer0") == InputMetadata.Attention())
  }

  @Test func wholeFile() throws {
    let metadata = try read(["model": "M", "causal": "true", "scale": "0.125", "window": "7"])
    let attention = metadata.attention(of: nil)
    #expect(metadata.model == "M" && attention.causal == true && attention.window == 7)
    #expect(attention.scale == .value(0.125) && attention.softcap == nil)
    #expect(try read(["causal": "null", "scale": "null"]).attention(of: nil).causal == nil)
    #expect(try read(["causal": "False"]).attention(of: nil).causal == false)
    let usual = try read(["scale": "1/sqrt(head_dim)"]).attention(of: nil).scale
    #expect(usual == .usual && usual?.factor(headDim: 16) == 0.25)
  }

  @Test func aLayerWins() throws {
    let metadata = try read([
      "causal": "true", "scale": "0.5",
      "layer3":
        #"{"causal": false, "scale": 0.25, "softcap": 50, "window": 511, "chunk": 64, "sinks": [1, -2.5]}"#,
      "layer4": #"{"causal": null, "scale": null, "softcap": null, "window": null, "sinks": null}"#,
      "tokens": #"{"hash": "abc"}"#,
    ])
    let third = metadata.attention(of: "layer3")
    #expect(third.causal == false && third.scale == .value(0.25) && third.softcap == 50)
    #expect(third.window == 511 && third.chunk == 64 && third.sinkLogits == [1, -2.5])
    let fourth = metadata.attention(of: "layer4")
    #expect(fourth == metadata.attention(of: nil) && fourth.causal == true)
  }

  @Test(arguments: [
    (["causal": "yes"], "causal 'yes': must be 'true' or 'false'"),
    (["scale": "small"], "scale 'small': must be a number"),
    (["scale": "inf"], "scale 'inf': must be a number"),
    (["softcap": "0"], "softcap '0': must be a number above 0"),
    (["window": "1.5"], "window '1.5': must be a whole number"),
    (["window": "1e30"], "window '1e30': must be a whole number"),
    (["window": "-1"], "window '-1': must be a whole number"),
    (["chunk": "0"], "chunk '0': must be a whole number"),
    (["layer0": #"{"chunk": -8192}"#], "chunk must be a whole number"),
    (["layer0": #"{"window": -3}"#], "window must be a whole number"),
    (["layer0": #"{"window": 1.5}"#], "must be a JSON object"),
    (["layer0": #"{"causal": "true"}"#], "must be a JSON object"),
    (["layer0": "{"], "must be a JSON object"),
  ])
  func damageIsNamed(_ strings: [String: String], _ message: String) {
    let error = #expect(throws: FileProblemError.self) { try read(strings) }
    let text = error?.description ?? ""
    #expect(text.hasPrefix("--inputs qkv.safetensors has in its __metadata__ "))
    #expect(text.contains(message), "\(text)")
  }
}
