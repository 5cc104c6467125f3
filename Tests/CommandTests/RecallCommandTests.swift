import Foundation
import Testing

@Suite("Recall")
struct RecallCommandTests {
  private static let figures = ["mass_kept", "top_keys_found", "best_mass", "gain_realised"]

  @Test("recommend shows what restricted strategies keep, and what topk keeps of the same number")
  func recommend() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    try TestTensors(heads: 2, n: 150, dimension: 8).write(to: directory)
    let arguments = [
      "recommend", "--inputs", "qkv.safetensors", "--causal", "--max-error", "none", "--budget",
      "1h",
      "--threads", "1", "--strategy", "flash,window(16),topblocks(8, 2),topk(16),linear",
    ]
    let result = try AttnbenchProcess.run(arguments, in: directory.root)
    #expect(result.code == 0, "\(result.error)")
    #expect(result.output.contains("mass") && result.output.contains("top keys"))
    #expect(result.output.contains("of what topk gains over keys drawn by lot"))
    let json = try AttnbenchProcess.run(arguments + ["--json"], in: directory.root)
    let object = try #require(
      JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any])
    let chosen = try #require(object["result"] as? [String: Any])
    let candidates = try #require(chosen["candidates"] as? [[String: Any]])
    #expect(candidates.count == 5)
    for candidate in candidates {
      let isRestricted = candidate["class"] as? String == "restricted"
      for figure in Self.figures {
        #expect((candidate[figure] as? Double != nil) == isRestricted, "\(candidate) \(figure)")
      }
    }
    // Selected or stated: the bound holds for whatever is kept.
    let certified = candidates.compactMap { $0["certificate"] as? [String: Any] }
    #expect(!certified.isEmpty && certified.allSatisfy { $0["rel_l2_bound"] != nil })
    let best = try #require(candidates.first { $0["strategy"] as? String == "topk(16)" })
    #expect(abs((best["gain_realised"] as? Double ?? 0) - 1) < 1e-4)
    #expect(best["top_keys_found"] as? Double == 1)
  }

  @Test("recommend --per-head shows what each head's own strategy keeps")
  func perHead() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    try TestTensors(heads: 3, n: 150, dimension: 8).write(to: directory)
    func heads(_ strategies: String) throws -> (text: String, heads: [[String: Any]]) {
      let arguments = [
        "recommend", "--inputs", "qkv.safetensors", "--causal", "--max-error", "none", "--budget",
        "1h", "--threads", "1", "--per-head", "--strategy", strategies,
      ]
      let result = try AttnbenchProcess.run(arguments, in: directory.root)
      #expect(result.code == 0, "\(result.error)")
      let json = try AttnbenchProcess.run(arguments + ["--json"], in: directory.root)
      let object = try #require(
        JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any])
      let perHead = try #require(object["per_head"] as? [String: Any])
      return (result.output, try #require(perHead["heads"] as? [[String: Any]]))
    }
    let best = try heads("topk(16)")
    #expect(best.text.contains("top keys") && best.text.contains("of what topk gains over keys"))
    #expect(best.heads.count == 3)
    for head in best.heads {
      #expect(head["top_keys_found"] as? Double == 1)
      #expect(abs((head["gain_realised"] as? Double ?? 0) - 1) < 1e-4)
      let (mass, most) = (head["mass_kept"] as? Double, head["best_mass"] as? Double)
      #expect(abs((mass ?? 2) - (most ?? 1)) < 1e-4 && mass ?? 2 < 1)
    }
    // Heads have rows of their own.
    #expect(Set(best.heads.map { $0["mass_kept"] as? Double }).count == 3)
    let whole = try heads("flash")
    #expect(!whole.text.contains("top keys"))
    for head in whole.heads { for figure in Self.figures { #expect(head[figure] == nil) } }
  }

  @Test("sweep writes them, report shows them, and retrieve has them for each distance")
  func files() throws {
    let directory = try TemporaryDirectory()
    defer { directory.remove() }
    let swept = try AttnbenchProcess.run(
      [
        "sweep", "--n", "96", "--strategy", "flash,topblocks(8, 2)", "--causal", "--heads", "2",
        "--rel-ci", "90%", "--threads", "1", "-o", "out",
      ], environment: ["PATH": "/nowhere"], in: directory.root)
    #expect(swept.code == 0, "\(swept.error)")
    let lines = try String(contentsOfFile: directory.path("out/results.csv"), encoding: .utf8)
      .split(separator: "\n")
    #expect(lines[0].hasSuffix(Self.figures.joined(separator: ",")))
    #expect(lines.contains { $0.contains("flash") && $0.hasSuffix(",,,,") })
    #expect(lines.contains { $0.contains("topblocks") && !$0.hasSuffix(",") })
    let reported = try AttnbenchProcess.run(["report", "out"], in: directory.root)
    #expect(reported.code == 0, "\(reported.error)")
    let page = try String(contentsOfFile: directory.path("out/report.html"), encoding: .utf8)
    #expect(page.contains("top keys") && page.contains("100% is as good as topk"))

    let found = try AttnbenchProcess.run(
      [
        "retrieve", "--n", "200", "--strategy", "flash,topblocks(8, 4)", "--causal", "--distances",
        "31,100", "--needles", "40", "-o", "needles",
      ], in: directory.root)
    #expect(found.code == 0, "\(found.error)")
    #expect(found.output.contains("over all distances, and keeps"))
    let rows = try String(contentsOfFile: directory.path("needles/retrieval.csv"), encoding: .utf8)
      .split(separator: "\n")
    #expect(rows[0].hasSuffix("chance,mass_kept,top_keys_found"))
    #expect(rows.contains { $0.contains("flash") && $0.hasSuffix(",,") })
    #expect(rows.filter { $0.contains("topblocks") && !$0.hasSuffix(",") }.count == 2)
  }
}
