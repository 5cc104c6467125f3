import AttentionC
import AttentionTestSupport
import CAttnbench

/// A tensor in memory of its own, as a C program has it. NaN wherever no element lies.
final class HostTensor: @unchecked Sendable {
  let shape: [Int]
  let memory: UnsafeMutableBufferPointer<Float>
  private let strides: [Int]

  /// `[b, h, n, d]`, that lies as `[b, n, h, d]` with a gap after each row where `interleaved`.
  init(_ shape: [Int], interleaved: Bool = false) {
    self.shape = shape
    let row = shape[3] + (interleaved ? 3 : 0)
    strides =
      interleaved
      ? [shape[2] * shape[1] * row, row, shape[1] * row, 1]
      : [shape[1] * shape[2] * row, shape[2] * row, row, 1]
    memory = .allocate(capacity: shape[0] * shape[1] * shape[2] * row)
    memory.initialize(repeating: .nan)
  }

  /// The same with random normal elements.
  convenience init(_ shape: [Int], interleaved: Bool = false, seed: Int) {
    self.init(shape, interleaved: interleaved)
    var generator = TestGenerator(seed: seed)
    for b in 0..<shape[0] {
      for h in 0..<shape[1] {
        for n in 0..<shape[2] {
          for d in 0..<shape[3] { self[b, h, n, d] = generator.normal() }
        }
      }
    }
  }

  deinit { memory.deallocate() }

  subscript(b: Int, h: Int, n: Int, d: Int) -> Float {
    get { memory[b * strides[0] + h * strides[1] + n * strides[2] + d] }
    set { memory[b * strides[0] + h * strides[1] + n * strides[2] + d] = newValue }
  }

  /// Whether no element is infinite or NaN; of a tensor without gaps.
  var isFinite: Bool { memory.allSatisfy(\.isFinite) }

  /// Whether nothing was written.
  var isUntouched: Bool { memory.allSatisfy(\.isNaN) }

  /// As the interface takes it.
  var tensor: attnbench_tensor {
    var tensor = attnbench_tensor()
    tensor.data = UnsafeMutableRawPointer(memory.baseAddress)
    tensor.shape = (Int64(shape[0]), Int64(shape[1]), Int64(shape[2]), Int64(shape[3]))
    tensor.strides = (Int64(strides[0]), Int64(strides[1]), Int64(strides[2]), Int64(strides[3]))
    return tensor
  }
}

/// Query, key, value, output and LSE of a small problem, and the problem.
final class HostProblem {
  var problem = attnbench_problem()
  let query: HostTensor
  let key: HostTensor
  let value: HostTensor
  let output: HostTensor
  let lse: HostTensor

  /// Two sequences of four heads on two.
  init(queries: Int = 9, keys: Int = 13, interleaved: Bool = false, seed: Int = 1) {
    problem.size = UInt32(MemoryLayout<attnbench_problem>.size)
    (problem.batch, problem.heads, problem.kv_heads) = (2, 4, 2)
    (problem.query_length, problem.key_length) = (Int64(queries), Int64(keys))
    (problem.head_dim, problem.value_dim) = (5, 7)
    query = HostTensor([2, 4, queries, 5], interleaved: interleaved, seed: seed)
    key = HostTensor([2, 2, keys, 5], interleaved: interleaved, seed: seed + 1)
    value = HostTensor([2, 2, keys, 7], interleaved: interleaved, seed: seed + 2)
    output = HostTensor([2, 4, queries, 7], interleaved: interleaved)
    lse = HostTensor([2, 4, queries, 1])
  }

  var operands: attnbench_operands {
    var operands = attnbench_operands()
    operands.size = UInt32(MemoryLayout<attnbench_operands>.size)
    (operands.query, operands.key, operands.value) = (query.tensor, key.tensor, value.tensor)
    (operands.output, operands.lse) = (output.tensor, lse.tensor)
    return operands
  }
}

/// What a call returned, and what it said.
struct Outcome: Equatable, CustomStringConvertible {
  let status: Int32
  let text: String

  /// The outcome of a call on this thread.
  init(_ status: Int32) {
    self.status = status
    text = status == 0 ? "" : String(cString: attnbench_last_error())
  }

  static let success = Outcome(0)
  var description: String { "\(status): \(text)" }

  /// Whether it is an error of such a code whose text says this.
  func says(_ code: attnbench_status, _ part: String) -> Bool {
    status == Int32(code.rawValue) && text.contains(part)
  }
}

/// A team, a plan or a decoder, destroyed with the object.
final class HostHandle: @unchecked Sendable {
  let pointer: OpaquePointer?
  let outcome: Outcome
  private let destroy: (OpaquePointer?) -> Void

  private init(
    _ create: (UnsafeMutablePointer<OpaquePointer?>) -> Int32,
    _ destroy: @escaping (OpaquePointer?) -> Void
  ) {
    // What no function may leave there on an error.
    var pointer = OpaquePointer(bitPattern: 1)
    outcome = Outcome(create(&pointer))
    self.pointer = pointer
    self.destroy = destroy
  }

  deinit { destroy(pointer) }

  static func team(threads: Int64 = 2) -> HostHandle {
    var options = attnbench_team_options()
    options.size = UInt32(MemoryLayout<attnbench_team_options>.size)
    options.threads = threads
    return HostHandle({ attnbench_team_create(&options, $0) }, attnbench_team_destroy)
  }

  static func plan(
    _ problem: attnbench_problem, _ strategy: String = "flash", on team: HostHandle
  ) -> HostHandle {
    var problem = problem
    return HostHandle(
      { attnbench_plan_create(&problem, strategy, team.pointer, $0) }, attnbench_plan_destroy)
  }

  static func decoder(
    _ problem: attnbench_problem, _ strategy: String = "flash",
    cache: attnbench_cache_options? = nil, on team: HostHandle
  ) -> HostHandle {
    var problem = problem
    return HostHandle(
      { decoder in
        guard var cache else {
          return attnbench_decoder_create(&problem, strategy, nil, team.pointer, decoder)
        }
        return attnbench_decoder_create(&problem, strategy, &cache, team.pointer, decoder)
      }, attnbench_decoder_destroy)
  }

  /// Runs a plan.
  func run(_ operands: attnbench_operands) -> Outcome {
    var operands = operands
    return Outcome(attnbench_plan_run(pointer, &operands))
  }

  /// Lets a decoder take in tokens.
  func step(_ operands: attnbench_operands) -> Outcome {
    var operands = operands
    return Outcome(attnbench_decoder_step(pointer, &operands, nil))
  }
}
