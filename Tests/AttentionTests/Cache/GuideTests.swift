import Attention
import Foundation
import MachineTopology
import Testing

/// The examples of Guides/Caches.md compile, run and are those of the guide.
@Suite struct CacheGuideTests {
  @Test func theExamplesRun() throws {
    // What is computed. keyLength is the length a sequence may reach, queryLength the tokens of a
    // usual step. Keys and values are kept as 8-bit integers; all else is fp32.
    let shape = try AttentionShape(
      batch: 2, heads: 32, kvHeads: 8, queryLength: 1, keyLength: 8192, headDim: 128)
    let problem = try AttentionProblem(
      shape, visibility: Visibility(causal: true),
      storage: Storage(.float32, keyValue: .int8PerToken))

    // Any strategy: a recurrence would keep a state instead of a cache.
    let team = try WorkerTeam(threads: 2)
    let strategy = try StrategyRegistry.standard.strategy("flash")
    let decoder = try strategy.decoder(for: problem, cache: .contiguous(), on: team)

    // A prompt: 20 tokens of one sequence, 16 of the other, then one token each.
    let prompt = try AttentionShape(
      batch: 2, heads: 32, kvHeads: 8, queryLength: 20, headDim: 128)
    let query = try Tensor(prompt.query)
    let key = try Tensor(prompt.key)
    let value = try Tensor(prompt.value)
    let output = try Tensor(prompt.output)
    try decoder.step(
      query: query.view, key: key.view, value: value.view, output: output.mutableView,
      newTokens: [20, 16])

    let token = try AttentionShape(
      batch: 2, heads: 32, kvHeads: 8, queryLength: 1, headDim: 128)
    let q = try Tensor(token.query)
    let k = try Tensor(token.key)
    let v = try Tensor(token.value)
    let o = try Tensor(token.output)
    try decoder.step(query: q.view, key: k.view, value: v.view, output: o.mutableView)
    // decoder.tokens is [21, 17] now.
    #expect(decoder.tokens == [21, 17])

    // Speculated tokens that were not accepted are taken back.
    try decoder.truncate(entry: 0, to: 20)
    #expect(decoder.tokens == [20, 17])

    // 4096 pages of 16 tokens, shared by as many caches as there are conversations.
    let pool = try PagePool(
      CacheShape(kvHeads: 8, headDim: 128), pageCount: 4096, pageRows: 16,
      elementType: .bfloat16)
    let paged = try AttentionProblem(
      shape, visibility: Visibility(causal: true), storage: Storage(.float32, keyValue: .bfloat16))
    let first = try strategy.decoder(for: paged, cache: .paged(pool), on: team)
    let second = try strategy.decoder(for: paged, cache: .paged(pool), on: team)
    for decoder in [first, second] {
      try decoder.step(query: q.view, key: k.view, value: v.view, output: o.mutableView)
    }
    #expect(pool.freePages == 4092)
  }

  /// Every line of code in the guide stands, in that order, in the test above.
  @Test func theGuideShowsTheseExamples() throws {
    let tests = URL(filePath: #filePath)
    var root = tests
    for _ in 0..<4 { root.deleteLastPathComponent() }
    let guide = try String(contentsOf: root.appending(path: "Guides/Caches.md"), encoding: .utf8)
    var source = lines(try String(contentsOf: tests, encoding: .utf8))[...]
    let blocks = guide.components(separatedBy: "```").filter { $0.hasPrefix("swift\n") }
    #expect(blocks.count == 2)
    for line in blocks.flatMap({ lines($0).dropFirst() }) where !line.hasPrefix("import ") {
      let place = source.firstIndex(of: line)
      #expect(place != nil, "the guide has what the test has not: \(line)")
      if let place { source = source[(place + 1)...] }
    }
  }

  private func lines(_ text: String) -> [String] {
    text.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
      .filter { !$0.isEmpty }
  }
}
