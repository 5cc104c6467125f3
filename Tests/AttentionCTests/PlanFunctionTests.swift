import Attention
import AttentionBench
import AttentionC
import AttentionTestSupport
import CAttnbench
import Foundation
import Testing

/// Plans through the C interface compute what the strategies are defined as.
@Suite struct PlanFunctionTests {
  /// Values are unit normal: some tens of roundings.
  private static let tolerance = 5e-6

  private static let strategies = [
    "flash", "full", "window(4, sinks: 1)", "strided(3)", "fixed(4, 1)", "linear",
    "flash, window(3), flash, full",
  ]

  /// The largest distance of the output from the fp64 definition; infinite where one is NaN.
  private func error(
    _ host: HostProblem, _ strategy: any AttentionStrategy, _ problem: AttentionProblem
  ) throws -> Double {
    func tensor(_ source: HostTensor) throws -> Tensor {
      let shape = try TensorShape(
        source.shape[0], source.shape[1], source.shape[2], source.shape[3])
      let copy = try Tensor(shape)
      var index = 0
      for b in 0..<shape.batch {
        for h in 0..<shape.heads {
          for n in 0..<shape.rows {
            for d in 0..<shape.columns {
              copy.elements[index] = source[b, h, n, d]
              index += 1
            }
          }
        }
      }
      return copy
    }
    let query = try tensor(host.query)
    let key = try tensor(host.key)
    let value = try tensor(host.value)
    return withExtendedLifetime((query, key, value)) {
      let inputs = InputViews(query: query.view, key: key.view, value: value.view)
      let oracle = strategy.oracle(for: problem)
      var worst = 0.0
      for b in 0..<2 {
        for h in 0..<4 {
          for n in 0..<problem.shape.queryLength {
            let row = oracle.row(inputs, batch: b, head: h, row: n)
            for d in 0..<7 {
              let distance = abs(Double(host.output[b, h, n, d]) - row.output[d])
              worst = distance.isNaN ? .infinity : max(worst, distance)
            }
          }
        }
      }
      return worst
    }
  }

  @Test(arguments: strategies, [false, true])
  func outputsAreTheDefinition(_ text: String, interleaved: Bool) throws {
    let host = HostProblem(interleaved: interleaved)
    host.problem.causal = 1
    host.problem.has_scale = 1
    host.problem.scale = 0.3
    let team = HostHandle.team()
    let plan = HostHandle.plan(host.problem, text, on: team)
    try #require(plan.outcome == .success)
    // A linear strategy has no softmax denominator to report, and need not write one.
    try #require(plan.run(host.operands) == .success)
    let problem = try AttentionProblem(
      AttentionShape(
        batch: 2, heads: 4, kvHeads: 2, queryLength: 9, keyLength: 13, headDim: 5, valueDim: 7),
      scoring: Scoring(scale: 0.3), visibility: Visibility(causal: true))
    let strategies = try StrategyRegistry.standard.strategies(text)
    let strategy = strategies.count == 1 ? strategies[0] : try MixedAttention(strategies)
    #expect(try error(host, strategy, problem) <= PlanFunctionTests.tolerance)
  }

  /// A mask of bytes and a bias of bf16 that hide the same keys, broadcast by strides of 0.
  @Test func masksAndBiasesBroadcast() throws {
    let keys = 13
    let hidden: [UInt8] = (0..<keys).map { $0 % 3 == 1 ? 0 : 200 }
    let biases: [UInt16] = hidden.map { $0 == 0 ? 0xFF80 : 0 }
    let team = HostHandle.team()
    var outputs: [[UInt32]] = []
    for usesMask in [true, false] {
      let host = HostProblem()
      func broadcast(_ data: UnsafeRawPointer?, _ type: attnbench_element_type) -> attnbench_tensor
      {
        var tensor = attnbench_tensor()
        tensor.data = UnsafeMutableRawPointer(mutating: data)
        tensor.type = type.rawValue
        tensor.shape = (2, 4, 9, Int64(keys))
        tensor.strides = (0, 0, 0, 1)
        return tensor
      }
      let plan = hidden.withUnsafeBytes { hidden in
        biases.withUnsafeBytes { biases in
          if usesMask {
            host.problem.mask = broadcast(hidden.baseAddress, ATTNBENCH_BOOL)
          } else {
            host.problem.bias = broadcast(biases.baseAddress, ATTNBENCH_BF16)
          }
          return HostHandle.plan(host.problem, on: team)
        }
      }
      try #require(plan.outcome == .success)
      try #require(plan.run(host.operands) == .success)
      outputs.append(host.output.memory.map(\.bitPattern))
      #expect(host.output.isFinite)
      let problem = try AttentionProblem(
        AttentionShape(
          batch: 2, heads: 4, kvHeads: 2, queryLength: 9, keyLength: keys, headDim: 5, valueDim: 7),
        visibility: Visibility(
          mask: BroadcastTensor(TensorShape(1, 1, 1, keys)) { mask in
            for key in 0..<keys { mask[key] = hidden[key] }
          }))
      let strategy = try StrategyRegistry.standard.strategy("flash")
      #expect(try error(host, strategy, problem) <= PlanFunctionTests.tolerance)
    }
    #expect(outputs[0] == outputs[1])
  }

  @Test func informationIsTheStrategys() throws {
    let host = HostProblem()
    let team = HostHandle.team(threads: 1)
    let plan = HostHandle.plan(host.problem, "strided", on: team)
    var info = attnbench_info()
    info.size = UInt32(MemoryLayout<attnbench_info>.size)
    #expect(Outcome(attnbench_plan_info(plan.pointer, &info)) == .success)
    #expect(info.size == UInt32(MemoryLayout<attnbench_info>.size))
    #expect(info.operator_class == ATTNBENCH_RESTRICTED.rawValue)
    #expect(info.threads == 1)
    #expect(info.pairs > 0 && info.pairs <= 2 * 4 * 9 * 13)
    #expect(info.flops == 2 * info.pairs * (5 + 7))
    #expect(info.workspace_bytes > 0)
    var text = [CChar](repeating: 1, count: 64)
    #expect(Outcome(attnbench_plan_spec(plan.pointer, &text, text.count)) == .success)
    #expect(string(text) == "strided(4)")
    #expect(Outcome(attnbench_plan_spec(plan.pointer, &text, 4)) == .success)
    #expect(string(text) == "str")
  }

  /// What C wrote, up to the 0 at its end.
  private func string(_ text: [CChar]) -> String {
    String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
  }

  @Test func libraryDescribesItself() throws {
    #expect(attnbench_abi_version() == UInt32(ATTNBENCH_ABI_VERSION))
    #expect(String(cString: attnbench_version()) == AttnbenchVersion.current)
    let json = Data(String(cString: attnbench_strategies()).utf8)
    let families = try #require(
      try JSONSerialization.jsonObject(with: json) as? [[String: Any]])
    #expect(
      families.compactMap { $0["name"] as? String }
        == StrategyRegistry.standard.families.map(\.name))
    #expect(
      families.map { ($0["parameters"] as? [Any])?.count }
        == StrategyRegistry.standard.families.map(\.parameters.count))
  }

  /// Steps of a decoder are the rows of one causal run.
  @Test func stepsAreTheRowsOfOneRun() throws {
    let host = HostProblem(queries: 13)
    host.problem.causal = 1
    let team = HostHandle.team()
    let plan = HostHandle.plan(host.problem, on: team)
    try #require(plan.run(host.operands) == .success)
    host.problem.query_length = 1
    let decoder = HostHandle.decoder(host.problem, on: team)
    try #require(decoder.outcome == .success)
    let step = HostTensor([2, 4, 1, 7])
    for token in 0..<13 {
      var operands = host.operands
      operands.lse = attnbench_tensor()
      operands.output = step.tensor
      for tensor in [\attnbench_operands.query, \.key, \.value] {
        let rows = operands[keyPath: tensor]
        operands[keyPath: tensor].shape.2 = 1
        operands[keyPath: tensor].data = rows.data.advanced(by: 4 * token * Int(rows.strides.2))
      }
      try #require(decoder.step(operands) == .success)
      for b in 0..<2 {
        for h in 0..<4 {
          for d in 0..<7 {
            #expect(abs(step[b, h, 0, d] - host.output[b, h, token, d]) <= 5e-6)
          }
        }
      }
    }
    var tokens: [Int64] = [0, 0]
    #expect(Outcome(attnbench_decoder_tokens(decoder.pointer, &tokens, 2)) == .success)
    #expect(tokens == [13, 13])
    #expect(Outcome(attnbench_decoder_truncate(decoder.pointer, 1, 4)) == .success)
    #expect(Outcome(attnbench_decoder_tokens(decoder.pointer, &tokens, 2)) == .success)
    #expect(tokens == [13, 4])
    var info = attnbench_info()
    info.size = UInt32(MemoryLayout<attnbench_info>.size)
    #expect(Outcome(attnbench_decoder_info(decoder.pointer, &info)) == .success)
    #expect(info.cache_bytes >= 2 * 2 * 13 * (5 + 7) * 4)
  }

  /// Threads with a plan each on one team, and threads that share a plan.
  @Test func threadsMayRunPlans() async throws {
    let team = HostHandle.team()
    let reference = HostProblem()
    let shared = HostHandle.plan(reference.problem, on: team)
    try #require(shared.run(reference.operands) == .success)
    let expected = reference.output.memory.map(\.bitPattern)
    let results = await withTaskGroup(of: Bool.self) { group in
      for index in 0..<8 {
        group.addTask {
          let host = HostProblem()
          let plan = index % 2 == 0 ? shared : HostHandle.plan(host.problem, on: team)
          for _ in 0..<20 {
            host.output.memory.update(repeating: .nan)
            guard plan.run(host.operands) == .success,
              host.output.memory.map(\.bitPattern) == expected
            else { return false }
          }
          return true
        }
      }
      return await group.reduce(true) { $0 && $1 }
    }
    #expect(results)
  }

  /// A state comes out and goes in: two runs that share it are one, and it is the sum of k v^T.
  @Test func statesGoOutAndIn() throws {
    let host = HostProblem(queries: 13, keys: 13)
    host.problem.causal = 1
    let team = HostHandle.team()
    let whole = HostHandle.plan(host.problem, "linear(identity)", on: team)
    let state = HostTensor([2, 2, 5, 7])
    var operands = host.operands
    operands.final_state = state.tensor
    try #require(whole.run(operands) == .success)
    for (b, h, c, v) in [(0, 0, 0, 0), (1, 1, 4, 6), (1, 0, 2, 3)] {
      let sum = (0..<13).reduce(0) { $0 + host.key[b, h, $1, c] * host.value[b, h, $1, v] }
      #expect(abs(state[b, h, c, v] - sum) < 1e-5)
    }
    // The last four tokens after the first nine.
    let (first, rest) = (HostProblem(queries: 9, keys: 9), HostProblem(queries: 4, keys: 4))
    for (part, offset) in [(first, 0), (rest, 9)] {
      part.problem.causal = 1
      for b in 0..<2 {
        for h in 0..<4 {
          for n in 0..<part.query.shape[2] {
            for d in 0..<5 { part.query[b, h, n, d] = host.query[b, h, n + offset, d] }
            if h > 1 { continue }
            for d in 0..<5 { part.key[b, h, n, d] = host.key[b, h, n + offset, d] }
            for d in 0..<7 { part.value[b, h, n, d] = host.value[b, h, n + offset, d] }
          }
        }
      }
    }
    let between = HostTensor([2, 2, 5, 7])
    operands = first.operands
    operands.final_state = between.tensor
    let head = HostHandle.plan(first.problem, "linear(identity)", on: team)
    try #require(head.run(operands) == .success)
    let tail = HostHandle.plan(rest.problem, "linear(identity)", on: team)
    try "state".withCString { name in
      var named = attnbench_named_tensor(name: name, tensor: between.tensor)
      try withUnsafePointer(to: &named) { named in
        operands = rest.operands
        (operands.named, operands.named_count) = (named, 1)
        try #require(tail.run(operands) == .success)
        for n in 0..<4 {
          for v in 0..<7 {
            #expect(abs(rest.output[1, 3, n, v] - host.output[1, 3, n + 9, v]) < 1e-5)
          }
        }
        operands.final_state = between.tensor
        #expect(tail.run(operands).says(ATTNBENCH_INVALID_ARGUMENT, "final_state: shares memory"))
      }
    }
    let flash = HostHandle.plan(host.problem, "flash", on: team)
    operands = host.operands
    operands.final_state = HostTensor([2, 2, 5, 7]).tensor
    #expect(flash.run(operands).says(ATTNBENCH_INVALID_ARGUMENT, "finalState"))
  }

  /// A draft is taken back, and the token after it gets what it would have got without.
  @Test(arguments: ["flash", "linear"]) func decodersGoBack(_ strategy: String) throws {
    let host = HostProblem(queries: 1, keys: 13)
    host.problem.causal = 1
    let team = HostHandle.team()
    let (plain, drafted) = (
      HostHandle.decoder(host.problem, strategy, on: team),
      HostHandle.decoder(host.problem, strategy, on: team)
    )
    let (one, draft, two) = (
      HostProblem(queries: 1, keys: 1, seed: 5), HostProblem(queries: 3, keys: 3, seed: 6),
      HostProblem(queries: 1, keys: 1, seed: 7)
    )
    #expect(
      Outcome(attnbench_decoder_rewind(drafted.pointer))
        .says(ATTNBENCH_INVALID_ARGUMENT, "call mark() before"))
    for decoder in [plain, drafted] { try #require(decoder.step(one.operands) == .success) }
    try #require(Outcome(attnbench_decoder_mark(drafted.pointer)) == .success)
    try #require(drafted.step(draft.operands) == .success)
    try #require(Outcome(attnbench_decoder_rewind(drafted.pointer)) == .success)
    try #require(plain.step(two.operands) == .success)
    let expected = Array(two.output.memory)
    try #require(drafted.step(two.operands) == .success)
    #expect(Array(two.output.memory) == expected)
  }
}
