import Attention
import Foundation
import Testing

@Suite("attnbench verify")
struct VerifyCommandTests {
  @Test("passes every strategy on its default problems, and says where real tensors would be")
  func defaults() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    let result = try AttnbenchProcess.run(["verify"], in: directory.root)
    #expect(result.code == 0, "\(result.output)")
    #expect(result.error.contains("real tensors not checked"))
    let strategies = try StrategyRegistry.standard.defaults()
    let acausal = strategies.count { !$0.servesCausalMasks }
    // Half of the problems are causal.
    let count = 14 * strategies.count - 7 * acausal
    let skipped = acausal == 0 ? "" : ", \(7 * acausal) skipped"
    #expect(result.outputLines.last == "PASS: \(count) checks\(skipped)")
    let lines = result.outputLines.dropFirst().dropLast()
    #expect(lines.count { $0.hasPrefix("PASS ") } == count)
    #expect(
      lines.filter { !$0.hasPrefix("PASS ") }.allSatisfy {
        $0.hasPrefix("SKIP  nystrom(64)") && $0.contains(" causal") && $0.contains("see its future")
      })
    for part in ["causal", "top-left", "/", "x", "b2", "d131"] {
      #expect(result.output.contains(part), "\(part)")
    }
  }

  @Test("checks the real tensors of the repository when run there")
  func realTensors() throws {
    let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent().deletingLastPathComponent().path
    let result = try AttnbenchProcess.run(["verify", "--rows", "16"], in: repository)
    #expect(result.code == 0, "\(result.output)")
    #expect(result.output.contains(":layer0 h12 n512 d32 causal"))
    #expect(result.output.contains(":layer3 h12 n512 d32"))
  }

  @Test("checks the user's tensors with the user's mask")
  func inputs() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    try TestTensors(heads: 2, n: 33, dimension: 6).write(to: directory)
    let result = try AttnbenchProcess.run(
      [
        "verify", "--inputs", "qkv.safetensors:layer7", "--strategy", "flash,window(5)",
        "--causal", "--align", "top-left", "--scale", "2",
      ], in: directory.root)
    #expect(result.code == 0, "\(result.output)")
    #expect(result.outputLines.count == 4)
    #expect(
      result.line(1).hasSuffix("64    qkv.safetensors:layer7 h2 n33 d6 causal top-left"))
  }

  @Test("checks stored elements on the same problems", arguments: ["f16", "bf16"])
  func storage(_ type: String) throws {
    let result = try AttnbenchProcess.run(
      ["verify", "--n", "70", "--kv-heads", "2", "--dtype", type])
    #expect(result.code == 0, "\(result.output)")
    #expect(result.outputLines.last?.hasPrefix("PASS: ") == true)
    let label = type == "f16" ? "fp16" : "bf16"
    #expect(result.outputLines.dropFirst().dropLast().allSatisfy { $0.hasSuffix(label) })
  }

  @Test("refuses element types that nothing is stored as")
  func unknownType() throws {
    let result = try AttnbenchProcess.run(["verify", "--n", "70", "--dtype", "f8"])
    #expect(result.code == 64)
    #expect(result.error.contains("bf16"))
  }

  @Test("skips what needs more memory than there is, with the numbers")
  func memory() throws {
    let result = try AttnbenchProcess.run(
      ["verify", "--n", "2M", "--heads", "1", "--head-dim", "1", "--strategy", "full"])
    #expect(result.code == 1)
    #expect(result.line(1).hasPrefix("SKIP  full"))
    #expect(result.line(1).contains("needs 14.6 TiB of memory"))
    #expect(result.outputLines.last == "NOTHING CHECKED: 1 skipped, 1 for want of memory")

    let tensors = try AttnbenchProcess.run(
      ["verify", "--n", "1M", "--heads", "1000", "--strategy", "window(4)"])
    #expect(tensors.code == 1)
    #expect(tensors.line(1).hasPrefix("SKIP  window(4)"), "\(tensors.output)")
  }

  @Test("does not pass where nothing was checked, and says why")
  func nothing() throws {
    let arguments = ["verify", "--n", "64", "--causal", "--threads", "1", "--strategy"]
    let none = try AttnbenchProcess.run(arguments + ["nystrom"])
    #expect(none.code == 1 && none.line(1).hasPrefix("SKIP  nystrom"), "\(none.output)")
    #expect(
      none.outputLines.last == "NOTHING CHECKED: 1 skipped, 1 not served by the strategy")
    let one = try AttnbenchProcess.run(arguments + ["nystrom,flash"])
    #expect(one.code == 0 && one.outputLines.last == "PASS: 1 checks, 1 skipped")
  }

  @Test("its help says how the bounds of every arithmetic come about")
  func help() throws {
    let help = try AttnbenchProcess.run(["verify", "--help"]).output
    for arithmetic in Arithmetic.allCases where arithmetic != .float32 {
      #expect(help.contains(arithmetic.rawValue), "\(help)")
    }
  }

  @Test("the same seed gives the same lines")
  func repeatable() throws {
    let arguments = ["verify", "--n", "50,200", "--seed", "9", "--threads", "1"]
    let first = try AttnbenchProcess.run(arguments)
    let second = try AttnbenchProcess.run(arguments)
    #expect(first.code == 0)
    #expect(first.output == second.output)
  }
}
