import Attention
import AttentionC
import CAttnbench
import Testing

/// Whatever a host hands in, a code comes back and a text that names it.
@Suite struct BadArgumentTests {
  /// A change to a problem, and what is said of it.
  struct BadProblem: Sendable, CustomStringConvertible {
    let text: String
    let code: UInt32
    let change: @Sendable (inout attnbench_problem) -> Void

    init(
      _ text: String, _ code: attnbench_status = ATTNBENCH_INVALID_ARGUMENT,
      _ change: @escaping @Sendable (inout attnbench_problem) -> Void
    ) {
      self.text = text
      self.code = code.rawValue
      self.change = change
    }

    var description: String { text }

    static let all = [
      BadProblem("problem.size = 0") { $0.size = 0 },
      BadProblem("problem.size = 4000000000") { $0.size = 4_000_000_000 },
      BadProblem("problem.causal = 2") { $0.causal = 2 },
      BadProblem("batch = -1") { $0.batch = -1 },
      BadProblem("heads = 0") { ($0.heads, $0.kv_heads) = (0, 0) },
      BadProblem("heads = 4") { $0.kv_heads = 3 },
      BadProblem("queryLength = -9223372036854775808") { $0.query_length = .min },
      BadProblem("keyLength = 9223372036854775807", ATTNBENCH_TOO_LARGE) { $0.key_length = .max },
      BadProblem("headDim = -5") { $0.head_dim = -5 },
      BadProblem("problem.query_type = 9") { $0.query_type = 9 },
      BadProblem("storage.query = int8-token") { $0.query_type = 3 },
      BadProblem("problem.key_value_type = 5") { $0.key_value_type = 5 },
      BadProblem("problem.alignment = 4") { $0.alignment = 4 },
      BadProblem("problem.offsets = NULL") { $0.alignment = 3 },
      BadProblem("offset = 9223372036854775807", ATTNBENCH_TOO_LARGE) {
        ($0.alignment, $0.offset) = (2, .max)
      },
      BadProblem("scale = nan") { ($0.has_scale, $0.scale) = (1, .nan) },
      BadProblem("problem.has_scale = 7") { $0.has_scale = 7 },
      BadProblem("softcap = -1.0") { $0.softcap = -1 },
      BadProblem("mask = [2, 4, 9, 14]", ATTNBENCH_SHAPE_MISMATCH) {
        $0.mask.shape = (2, 4, 9, 14)
      },
      BadProblem("mask.shape = [0, 1, 1, 13]", ATTNBENCH_SHAPE_MISMATCH) {
        $0.mask.shape = (0, 1, 1, 13)
      },
      BadProblem("mask.data = NULL") {
        ($0.mask.shape, $0.mask.type) = ((1, 1, 1, 13), ATTNBENCH_BOOL.rawValue)
      },
      BadProblem("mask.type = 0", ATTNBENCH_SHAPE_MISMATCH) { $0.mask.shape = (1, 1, 1, 13) },
      BadProblem("bias.type = 5", ATTNBENCH_SHAPE_MISMATCH) {
        ($0.bias.shape, $0.bias.type) = ((1, 1, 1, 13), ATTNBENCH_BOOL.rawValue)
      },
      BadProblem("bias.strides[0] = -1", ATTNBENCH_SHAPE_MISMATCH) {
        $0.bias.data = UnsafeMutableRawPointer(bitPattern: 64)
        ($0.bias.shape, $0.bias.strides.0) = ((2, 1, 1, 13), -1)
      },
      BadProblem("bias.strides", ATTNBENCH_TOO_LARGE) {
        $0.bias.data = UnsafeMutableRawPointer(bitPattern: 64)
        ($0.bias.shape, $0.bias.strides) = ((1, 1, 9, 13), (0, 0, .max / 2, 1))
      },
      BadProblem("bias.strides[3]", ATTNBENCH_TOO_LARGE) {
        $0.bias.data = UnsafeMutableRawPointer(bitPattern: 64)
        ($0.bias.shape, $0.bias.strides) = ((1, 1, 1, 13), (0, 0, 0, .max))
      },
      BadProblem("bias.data: must be a multiple") {
        $0.bias.data = UnsafeMutableRawPointer(bitPattern: 65)
        ($0.bias.shape, $0.bias.strides) = ((1, 1, 1, 13), (0, 0, 0, 1))
      },
    ]
  }

  @Test(arguments: BadProblem.all)
  func badProblemsAreRefused(_ bad: BadProblem) {
    let team = HostHandle.team(threads: 1)
    var problem = HostProblem().problem
    bad.change(&problem)
    let plan = HostHandle.plan(problem, on: team)
    #expect(plan.pointer == nil)
    #expect(plan.outcome.says(attnbench_status(rawValue: bad.code), bad.text), "\(plan.outcome)")
    let decoder = HostHandle.decoder(problem, on: team)
    #expect(decoder.pointer == nil)
    #expect(decoder.outcome == plan.outcome)
  }

  /// A change to the operands of a run, and what is said of it.
  struct BadOperands: Sendable, CustomStringConvertible {
    let text: String
    let code: UInt32
    let change: @Sendable (inout attnbench_operands) -> Void

    init(
      _ text: String, _ code: attnbench_status = ATTNBENCH_SHAPE_MISMATCH,
      _ change: @escaping @Sendable (inout attnbench_operands) -> Void
    ) {
      self.text = text
      self.code = code.rawValue
      self.change = change
    }

    var description: String { text }

    static let all = [
      BadOperands("operands.size = 3", ATTNBENCH_INVALID_ARGUMENT) { $0.size = 3 },
      BadOperands("query.data = NULL", ATTNBENCH_INVALID_ARGUMENT) { $0.query.data = nil },
      BadOperands("key.data: must be a multiple", ATTNBENCH_INVALID_ARGUMENT) {
        $0.key.data = $0.key.data.advanced(by: 1)
      },
      BadOperands("query = [2, 4, 8, 5]") { $0.query.shape.2 = 8 },
      BadOperands("value.shape = [2, 2, -13, 7]") { $0.value.shape.2 = -13 },
      BadOperands("value.shape", ATTNBENCH_TOO_LARGE) { $0.value.shape.2 = .max },
      BadOperands("query = bf16") { $0.query.type = ATTNBENCH_BF16.rawValue },
      BadOperands("query.type = 77", ATTNBENCH_INVALID_ARGUMENT) { $0.query.type = 77 },
      BadOperands("key.strides[2] = -5") { $0.key.strides.2 = -5 },
      BadOperands("key.strides[3] = 2") { $0.key.strides.3 = 2 },
      BadOperands("key.strides = (") { $0.key.strides.2 = 4 },
      BadOperands("key.strides", ATTNBENCH_TOO_LARGE) { $0.key.strides.0 = .max },
      BadOperands("output.strides = (") { $0.output.strides.0 = 1 },
      BadOperands("key.channelScales = none", ATTNBENCH_INVALID_ARGUMENT) {
        $0.key.type = ATTNBENCH_INT8_CHANNEL.rawValue
      },
      BadOperands("output: shares memory with query", ATTNBENCH_INVALID_ARGUMENT) {
        $0.output.data = $0.query.data.advanced(by: 8)
      },
      BadOperands("lse: shares memory with output", ATTNBENCH_INVALID_ARGUMENT) {
        $0.lse.data = $0.output.data
      },
      BadOperands("logSumExp = [2, 4, 9, 7]") {
        ($0.lse.shape, $0.lse.strides) = ($0.output.shape, $0.output.strides)
        $0.lse.data = UnsafeMutableRawPointer(bitPattern: 4096)
      },
      BadOperands("operands.named = NULL", ATTNBENCH_INVALID_ARGUMENT) { $0.named_count = 1 },
      BadOperands("operands.named_count = 4294967295", ATTNBENCH_INVALID_ARGUMENT) {
        $0.named_count = .max
      },
    ]
  }

  @Test(arguments: BadOperands.all)
  func badOperandsAreRefused(_ bad: BadOperands) {
    let team = HostHandle.team(threads: 1)
    let host = HostProblem()
    let plan = HostHandle.plan(host.problem, on: team)
    var operands = host.operands
    bad.change(&operands)
    let outcome = plan.run(operands)
    #expect(outcome.says(attnbench_status(rawValue: bad.code), bad.text), "\(outcome)")
    #expect(host.output.isUntouched, "nothing was written")
    #expect(plan.run(host.operands) == .success, "the plan is as before")
  }

  @Test func namedOperandsThatNobodyTakesAreRefused() {
    let team = HostHandle.team(threads: 1)
    let host = HostProblem()
    let plan = HostHandle.plan(host.problem, on: team)
    let decay = HostTensor([2, 2, 13, 1], seed: 9)
    let outcome = "decay".withCString { name in
      var named = attnbench_named_tensor(name: name, tensor: decay.tensor)
      return withUnsafePointer(to: &named) { named in
        var operands = host.operands
        (operands.named, operands.named_count) = (named, 1)
        return plan.run(operands)
      }
    }
    #expect(outcome.says(ATTNBENCH_INVALID_ARGUMENT, "decay = given"), "\(outcome)")
  }

  @Test func keyLengthsOutOfRangeAreRefused() {
    let team = HostHandle.team(threads: 1)
    let host = HostProblem()
    let plan = HostHandle.plan(host.problem, on: team)
    for lengths: [Int64] in [[14, 1], [-1, 1], [.max, .min]] {
      let outcome = lengths.withUnsafeBufferPointer { lengths in
        var operands = host.operands
        operands.key_lengths = lengths.baseAddress
        return plan.run(operands)
      }
      #expect(outcome.says(ATTNBENCH_INVALID_ARGUMENT, "keyLengths = "), "\(outcome)")
    }
  }

  @Test func unknownStrategiesAreRefusedWithTheNearest() {
    let team = HostHandle.team(threads: 1)
    let problem = HostProblem().problem
    for (text, code, part) in [
      ("windw(3)", ATTNBENCH_UNKNOWN_STRATEGY, "did you mean 'window'?"),
      ("window(0)", ATTNBENCH_INVALID_ARGUMENT, "window w = 0"),
      ("", ATTNBENCH_INVALID_ARGUMENT, "strategy = ''"),
      ("flash, flash", ATTNBENCH_SHAPE_MISMATCH, "strategy = 2 of them"),
      (
        String(repeating: "x", count: 100_000), ATTNBENCH_UNKNOWN_STRATEGY, "unknown strategy 'xxx"
      ),
    ] {
      let plan = HostHandle.plan(problem, text, on: team)
      #expect(plan.pointer == nil)
      #expect(plan.outcome.says(code, part), "\(plan.outcome)")
    }
  }

  @Test func handlesThatStandForNothingAreRefused() {
    let team = HostHandle.team(threads: 1)
    let host = HostProblem()
    var operands = host.operands
    for handle in [nil, OpaquePointer(bitPattern: 0xDEAD_BEEF_0000), team.pointer] {
      let outcome = Outcome(attnbench_plan_run(handle, &operands))
      #expect(outcome.says(ATTNBENCH_INVALID_ARGUMENT, "plan"), "\(outcome)")
      attnbench_plan_destroy(handle)
      attnbench_decoder_destroy(handle)
    }
    let plan = HostHandle.plan(host.problem, on: team)
    attnbench_plan_destroy(plan.pointer)
    let stale = plan.run(host.operands)
    #expect(stale.says(ATTNBENCH_INVALID_ARGUMENT, "plan: no such handle"), "\(stale)")
    attnbench_plan_destroy(plan.pointer)
    // A plan keeps its team.
    let other = HostHandle.plan(host.problem, on: team)
    attnbench_team_destroy(team.pointer)
    #expect(other.run(host.operands) == .success)
    #expect(HostHandle.plan(host.problem, on: team).pointer == nil)
  }

  @Test func nullPointersAreRefused() {
    let team = HostHandle.team(threads: 1)
    var problem = HostProblem().problem
    var plan: OpaquePointer?
    #expect(
      Outcome(attnbench_team_create(nil, nil)).says(ATTNBENCH_INVALID_ARGUMENT, "team = NULL"))
    #expect(
      Outcome(attnbench_plan_create(nil, "flash", team.pointer, &plan))
        .says(ATTNBENCH_INVALID_ARGUMENT, "problem = NULL"))
    #expect(
      Outcome(attnbench_plan_create(&problem, nil, team.pointer, &plan))
        .says(ATTNBENCH_INVALID_ARGUMENT, "strategy = NULL"))
    #expect(
      Outcome(attnbench_plan_create(&problem, "flash", nil, &plan))
        .says(ATTNBENCH_INVALID_ARGUMENT, "team = NULL"))
    #expect(
      Outcome(attnbench_plan_create(&problem, "flash", team.pointer, nil))
        .says(ATTNBENCH_INVALID_ARGUMENT, "plan = NULL"))
    let made = HostHandle.plan(problem, on: team)
    #expect(
      Outcome(attnbench_plan_run(made.pointer, nil))
        .says(ATTNBENCH_INVALID_ARGUMENT, "operands = NULL"))
    #expect(
      Outcome(attnbench_plan_info(made.pointer, nil)).says(
        ATTNBENCH_INVALID_ARGUMENT, "info = NULL"))
    #expect(
      Outcome(attnbench_plan_spec(made.pointer, nil, 9))
        .says(ATTNBENCH_INVALID_ARGUMENT, "text = NULL"))
    attnbench_team_destroy(nil)
    attnbench_plan_destroy(nil)
    attnbench_decoder_destroy(nil)
  }

  @Test func teamsThatCannotBeHadAreRefused() {
    for (threads, binding, part): (Int64, String?, String) in [
      (-1, nil, "threads -1: at least 1 worker is needed"), (5000, nil, "threads 5000"),
      (.max, nil, "threads 9223372036854775807"), (1, "core:9999", "bind core:9999"),
      (1, "socket:0", "bind socket:0"),
    ] {
      var options = attnbench_team_options()
      options.size = UInt32(MemoryLayout<attnbench_team_options>.size)
      options.threads = threads
      var team: OpaquePointer?
      func create() -> Outcome { Outcome(attnbench_team_create(&options, &team)) }
      let outcome =
        binding.map { binding in
          binding.withCString { text in
            options.binding = text
            return create()
          }
        } ?? create()
      #expect(team == nil)
      #expect(outcome.says(ATTNBENCH_THREADS, part), "\(outcome)")
      #expect(!outcome.text.contains("--"), "\(outcome)")
    }
  }

  /// Structures of an older header are shorter, of a newer one longer.
  @Test func structuresOfOtherVersionsAreRead() {
    let team = HostHandle.team(threads: 1)
    let host = HostProblem()
    var short = host.problem
    short.size = UInt32(MemoryLayout<attnbench_problem>.offset(of: \.mask) ?? 0)
    short.mask.shape = (9, 9, 9, 9)
    #expect(HostHandle.plan(short, on: team).outcome == .success, "beyond its size nothing is read")
    struct Longer {
      var problem = attnbench_problem()
      var more = 0
    }
    var long = Longer(problem: host.problem)
    long.problem.size = UInt32(MemoryLayout<Longer>.size)
    for more in 0...1 {
      long.more = more
      var plan: OpaquePointer?
      let outcome = withUnsafePointer(to: &long) { long in
        Outcome(
          attnbench_plan_create(
            UnsafeRawPointer(long).assumingMemoryBound(to: attnbench_problem.self), "flash",
            team.pointer, &plan))
      }
      if more == 0 {
        #expect(outcome == .success)
      } else {
        #expect(outcome.says(ATTNBENCH_INVALID_ARGUMENT, "the rest is not zero"), "\(outcome)")
      }
      #expect((plan == nil) == (more != 0))
      attnbench_plan_destroy(plan)
    }
  }

  @Test func decodersRefuseWhatDoesNotFit() {
    let team = HostHandle.team(threads: 1)
    let host = HostProblem(queries: 13)
    var cache = attnbench_cache_options()
    cache.size = UInt32(MemoryLayout<attnbench_cache_options>.size)
    cache.window = 4
    let unset = HostHandle.decoder(host.problem, cache: cache, on: team)
    #expect(unset.outcome.says(ATTNBENCH_INVALID_ARGUMENT, "cache.window = 4"), "\(unset.outcome)")
    (cache.rolling, cache.window) = (1, 0)
    let empty = HostHandle.decoder(host.problem, cache: cache, on: team)
    #expect(empty.outcome.says(ATTNBENCH_INVALID_ARGUMENT, "window = 0"), "\(empty.outcome)")

    let decoder = HostHandle.decoder(host.problem, on: team)
    #expect(decoder.step(host.operands) == .success)
    let full = decoder.step(host.operands)
    #expect(full.says(ATTNBENCH_CAPACITY_EXHAUSTED, "keyLength = 13"), "\(full)")
    for (entry, count): (Int64, Int64) in [(2, 0), (-1, 0), (0, -1), (0, 14), (.max, .max)] {
      let outcome = Outcome(attnbench_decoder_truncate(decoder.pointer, entry, count))
      #expect(outcome.status == ATTNBENCH_INVALID_ARGUMENT.rawValue, "\(outcome)")
    }
    var tokens: [Int64] = [0]
    let few = Outcome(attnbench_decoder_tokens(decoder.pointer, &tokens, 1))
    #expect(few.says(ATTNBENCH_INVALID_ARGUMENT, "count = 1"), "\(few)")
  }
}
