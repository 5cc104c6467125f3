import Foundation
import TensorFiles
import Testing

/// Some of ONNX's own tests of its Attention and LinearAttention operators; `make test-onnx` runs all of them.
@Suite("ONNX's Attention and LinearAttention")
struct OnnxNodeTests {
  static let root = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().appending(path: "Fixtures/onnx")

  static let names = [
    "3d_gqa_with_past_and_present", "4d_diff_heads_mask4d_padded_kv",
    "4d_softcap_neginf_mask_poison", "4d_with_qk_matmul_softcap",
    "4d_causal_nonpad_attn_mask_composition", "23_fullymasked_qk_matmul_output_mode3_zero",
    "bidirectional_window", "local_window_with_past", "local_window_gqa_rank4_mask",
    "linear_attention_gated_delta_gqa", "linear_attention_decode_step",
    "linear_attention_gated_per_head_decay",
  ]

  @Test("comes out of run", arguments: names)
  func node(_ name: String) throws {
    let fixture = Self.root.appending(path: name)
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    let files = try FileManager.default.contentsOfDirectory(atPath: fixture.path)
    for file in files where file.hasSuffix(".npy") {
      try FileManager.default.copyItem(
        atPath: fixture.appending(path: file).path, toPath: directory.path(file))
    }
    let arguments = try String(
      contentsOf: fixture.appending(path: "arguments"), encoding: .utf8
    ).split(separator: "\n").map(String.init)
    let result = try AttnbenchProcess.run(arguments, in: directory.root)
    #expect(result.code == 0, "\(result.error)")

    let outputs = files.filter { $0.hasPrefix("expected--") }.map { String($0.dropFirst(10)) }
    #expect(outputs.contains("output.npy"))
    for file in outputs {
      let found = try NpyFile.read(directory.path("out-" + file))
      let expected = try NpyFile.read(directory.path("expected--" + file))
      #expect(found.shape == expected.shape && found.sourceType == expected.sourceType)
      // ONNX's own tolerance is a hundred times this.
      for (index, (a, b)) in zip(found.elements, expected.elements).enumerated() {
        let isClose = a == b || b.isFinite && abs(a - b) <= 1e-6 + 1e-5 * abs(b)
        #expect(isClose, "\(file), element \(index): \(a), expected \(b)")
      }
    }
  }
}
