import Attention
import CAttnbench
import MachineTopology
import Synchronization

/// A decoder that threads take turns at.
private final class SharedDecoder: @unchecked Sendable {
  let operatorClass: OperatorClass
  let threads: Int
  let batch: Int
  private let decoder: any AttentionDecoder
  private let turn = Mutex<Void>(())

  init(
    _ problem: AttentionProblem, _ strategy: any AttentionStrategy, cache: CacheChoice,
    on team: WorkerTeam
  ) throws {
    operatorClass = strategy.operatorClass
    threads = team.threadCount
    batch = problem.shape.batch
    decoder = try strategy.decoder(for: problem, cache: cache, on: team)
  }

  /// Hands the decoder to one thread at a time.
  func use<Value>(_ body: (any AttentionDecoder) throws -> Value) rethrows -> Value {
    try turn.withLock { _ in try body(decoder) }
  }
}

extension attnbench_cache_options {
  fileprivate func choice() throws -> CacheChoice {
    guard try flag(rolling, "cache.rolling") else {
      guard sinks == 0, window == 0 else {
        throw InterfaceError(
          .invalidArgument,
          "cache.window = \(window), cache.sinks = \(sinks): are of a rolling cache; set rolling, "
            + "or leave them 0")
      }
      return .contiguous()
    }
    return .rolling(sinks: Int(sinks), window: Int(window))
  }
}

@c @implementation
public func attnbench_decoder_create(
  _ problem: UnsafePointer<attnbench_problem>?, _ strategyText: UnsafePointer<CChar>?,
  _ cache: UnsafePointer<attnbench_cache_options>?, _ team: OpaquePointer?,
  _ decoder: UnsafeMutablePointer<OpaquePointer?>?
) -> Int32 {
  reporting {
    guard let decoder else { throw InterfaceError.null("decoder") }
    decoder.pointee = nil
    let team = try HandleTable.object(team, "team", as: WorkerTeam.self)
    let problem = try attnbench_problem.read(problem, "problem").problem()
    let strategy = try strategy(strategyText, for: problem)
    let cache = try cache.map { try attnbench_cache_options.read($0, "cache").choice() }
    decoder.pointee = HandleTable.add(
      try SharedDecoder(problem, strategy, cache: cache ?? .contiguous(), on: team))
  }
}

@c @implementation
public func attnbench_decoder_step(
  _ decoder: OpaquePointer?, _ operands: UnsafePointer<attnbench_operands>?,
  _ new_tokens: UnsafePointer<Int64>?
) -> Int32 {
  reporting {
    let decoder = try HandleTable.object(decoder, "decoder", as: SharedDecoder.self)
    let operands = try attnbench_operands.read(operands, "operands").operands(batch: decoder.batch)
    guard operands.keyLengths == nil else {
      throw InterfaceError(
        .invalidArgument, "key_lengths: a decoder counts tokens itself; leave it NULL")
    }
    guard operands.finalState == nil else {
      throw InterfaceError(
        .invalidArgument, "final_state: a decoder keeps its state itself; leave it zeros")
    }
    let newTokens = numbers(new_tokens, count: decoder.batch)
    try decoder.use { decoder in
      try decoder.declaredOperands.checkValues(operands.inputs.named)
      try decoder.step(operands, newTokens: newTokens)
    }
  }
}

@c @implementation
public func attnbench_decoder_tokens(
  _ decoder: OpaquePointer?, _ tokens: UnsafeMutablePointer<Int64>?, _ count: Int
) -> Int32 {
  reporting {
    let decoder = try HandleTable.object(decoder, "decoder", as: SharedDecoder.self)
    guard let tokens else { throw InterfaceError.null("tokens") }
    guard count == decoder.batch else {
      throw InterfaceError(
        .invalidArgument, "count = \(count): there are \(decoder.batch) batch entries")
    }
    for (entry, held) in decoder.use(\.tokens).enumerated() { tokens[entry] = Int64(held) }
  }
}

@c @implementation
public func attnbench_decoder_truncate(
  _ decoder: OpaquePointer?, _ entry: Int64, _ count: Int64
) -> Int32 {
  reporting {
    let decoder = try HandleTable.object(decoder, "decoder", as: SharedDecoder.self)
    guard (0..<Int64(decoder.batch)).contains(entry) else {
      throw InterfaceError(
        .invalidArgument, "entry = \(entry): must be in 0..<\(decoder.batch)")
    }
    guard count >= 0 else {
      throw InterfaceError(.invalidArgument, "count = \(count): must be at least 0")
    }
    try decoder.use { try $0.truncate(entry: Int(entry), to: Int(count)) }
  }
}

@c @implementation
public func attnbench_decoder_mark(_ decoder: OpaquePointer?) -> Int32 {
  reporting {
    try HandleTable.object(decoder, "decoder", as: SharedDecoder.self).use { try $0.mark() }
  }
}

@c @implementation
public func attnbench_decoder_rewind(_ decoder: OpaquePointer?) -> Int32 {
  reporting {
    try HandleTable.object(decoder, "decoder", as: SharedDecoder.self).use { try $0.rewind() }
  }
}

@c @implementation
public func attnbench_decoder_info(
  _ decoder: OpaquePointer?, _ info: UnsafeMutablePointer<attnbench_info>?
) -> Int32 {
  reporting {
    let decoder = try HandleTable.object(decoder, "decoder", as: SharedDecoder.self)
    var found = attnbench_info()
    found.operator_class = decoder.operatorClass.code
    found.threads = UInt32(decoder.threads)
    (found.workspace_bytes, found.cache_bytes) = decoder.use {
      (Int64($0.workspaceBytes), Int64($0.cacheBytes))
    }
    try found.write(to: info, "info")
  }
}

@c @implementation
public func attnbench_decoder_destroy(_ decoder: OpaquePointer?) {
  HandleTable.remove(decoder, as: SharedDecoder.self)
}
