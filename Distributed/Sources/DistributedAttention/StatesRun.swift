import Attention
import MachineTopology
import MessagePassing

/// `states`: each rank goes on from the state that the rank before it ended with.
///
/// A head at a time, so that while rank r works on a head, rank r + 1 works on the one before: R ranks and H
/// key/value heads take (H + R - 1) / H of the time that work dealt evenly would. Bytes: one state a
/// head, whatever the length.
final class StatesRun: SchemeRun {
  private let context: SchemeContext
  private let plan: any AttentionPlan
  /// Key/value heads that are worked on together: all, where a head's number matters.
  private let together: Int
  private let incoming: Tensor
  private let outgoing: Tensor

  init(_ context: SchemeContext) throws(AttentionError) {
    self.context = context
    let (strategy, problem, shape) = (context.strategy, context.problem, context.shape)
    try problem.refuseUnlessShardable()
    guard context.documents == nil else {
      throw AttentionError(
        .invalidArgument, argument: "packed", value: "with \(Scheme.states.rawValue)",
        advice: "a state would go on from one sequence into the next; run one sequence at a time")
    }
    guard strategy.keepsState, strategy.operands.contains(where: { $0.name == "state" }) else {
      throw AttentionError(
        .invalidArgument, argument: "scheme", value: Scheme.states.rawValue,
        advice: "\(strategy.spec(for: problem)) gives no state to go on from; take "
          + (strategy.isSliceable ? "ring" : "alltoall"))
    }
    let visibility = problem.visibility
    guard visibility.causal, shape.queryLength == shape.keyLength, context.queries == context.keys,
      context.queries.order == .contiguous, visibility.queryLengths == nil,
      visibility.keyLengths == nil, visibility.windowLeft == nil, visibility.chunk == nil,
      visibility.offset == .bottomRight || visibility.offset == .topLeft
    else {
      throw AttentionError(
        .invalidArgument, argument: "scheme", value: Scheme.states.rawValue,
        advice: "needs a causal problem of as many queries as keys, without lengths, in contiguous "
          + "shards: a state knows the tokens before it; take alltoall")
    }
    together = strategy.dependsOnHeadNumbers ? shape.kvHeads : 1
    let rows = context.queries.count(context.rank)
    let together = together
    let part = try problem.with { shape, _, _, _ in
      (shape.batch, shape.queryLength, shape.keyLength) = (1, rows, rows)
      shape.heads = shape.groupSize * together
      shape.kvHeads = together
    }
    plan = try strategy.plan(for: part, on: context.team)
    guard let state = plan.stateShape else {
      throw AttentionError(
        .invalidArgument, argument: "scheme", value: Scheme.states.rawValue,
        advice: "\(strategy.spec(for: problem)) gives no state to go on from; take alltoall")
    }
    incoming = try Tensor(
      TensorShape(shape.batch, shape.kvHeads, state.rows, state.columns))
    outgoing = try Tensor(incoming.shape)
    for operand in strategy.operands where !operand.isOptional { _ = try operand.rowAxis }
  }

  var workspaceBytes: Int {
    plan.workspaceBytes + 4 * (incoming.shape.count + outgoing.shape.count)
  }

  func run(_ tensors: ShardTensors) throws -> RunCounts {
    let (shape, rank, communicator) = (context.shape, context.rank, context.communicator)
    let rows = 0..<context.queries.count(rank)
    var states: [Message] = []
    var departures: [Message] = []
    var sent: [Message] = []
    var counts = RunCounts()
    let parts = (0..<shape.batch).flatMap { batch in
      stride(from: 0, to: shape.kvHeads, by: together).map { (batch: batch, kvHead: $0) }
    }
    // For a simulated link: of states that come, then of those that go.
    let times = context.link == nil ? nil : DepartureTimes(count: 2 * parts.count)
    var link = context.link.map { LinkQueue($0) }
    if rank > 0 {
      for (index, part) in parts.enumerated() {
        if let times {
          departures.append(
            try communicator.receive(
              into: times.bytes(index), from: rank - 1, tag: Tag.sentAt))
        }
        states.append(
          try communicator.receive(
            into: bytes(incoming, part.batch, part.kvHead), from: rank - 1, tag: Tag.state))
      }
    }
    for (index, part) in parts.enumerated() {
      let start = monotonicSeconds()
      if rank > 0 {
        counts.blocks += 1
        var arrival: Double?
        func isHere() throws(MessagePassingError) -> Bool {
          guard try communicator.isDone(&states[index]) else { return false }
          guard let times else { return true }
          guard try communicator.isDone(&departures[index]) else { return false }
          if arrival == nil {
            arrival = link?.arrival(
              of: bytes(incoming, part.batch, part.kvHead).count, leaving: times[index])
          }
          return monotonicSeconds() >= arrival ?? 0
        }
        if try isHere() { counts.blocksReady += 1 }
        try communicator.wait("waiting for a state of rank \(rank - 1)", until: isHere)
      }
      counts.waitSeconds += monotonicSeconds() - start
      let kvHeads = part.kvHead..<part.kvHead + together
      let heads = kvHeads.lowerBound * shape.groupSize..<kvHeads.upperBound * shape.groupSize
      var named: [String: TensorView] = [:]
      for operand in context.strategy.operands {
        guard let tensor = tensors.named[operand.name] else { continue }
        let isOfQueries = try operand.rowAxis == .queryLength
        named[operand.name] = try tensor.part(
          part.batch, heads: isOfQueries ? heads : kvHeads, rows: rows)
      }
      let stateRows = 0..<incoming.shape.rows
      if rank > 0 {
        named["state"] = try incoming.part(part.batch, heads: kvHeads, rows: stateRows)
      }
      try plan.run(
        AttentionOperands(
          query: tensors.query.part(part.batch, heads: heads, rows: rows),
          key: tensors.key.part(part.batch, heads: kvHeads, rows: rows),
          value: tensors.value.part(part.batch, heads: kvHeads, rows: rows), named: named,
          output: tensors.output.mutablePart(part.batch, heads: heads, rows: rows),
          logSumExp: tensors.logSumExp.mutablePart(part.batch, heads: heads, rows: rows),
          finalState: outgoing.mutablePart(part.batch, heads: kvHeads, rows: stateRows)))
      if rank + 1 < context.ranks {
        if let times {
          sent.append(
            try communicator.send(
              times.leaves(parts.count + index), to: rank + 1, tag: Tag.sentAt))
        }
        sent.append(
          try communicator.send(
            UnsafeRawBufferPointer(bytes(outgoing, part.batch, part.kvHead)), to: rank + 1,
            tag: Tag.state))
      }
      try communicator.movesOn("computing")
      for index in sent.indices { _ = try communicator.isDone(&sent[index]) }
    }
    let start = monotonicSeconds()
    try communicator.finish(&sent, "a state goes to rank \(rank + 1)")
    counts.waitSeconds += monotonicSeconds() - start
    return counts
  }

  private func bytes(_ tensor: Tensor, _ batch: Int, _ kvHead: Int)
    -> UnsafeMutableRawBufferPointer
  {
    let head = tensor.headRows(batch, kvHead)
    return UnsafeMutableRawBufferPointer(
      start: head.base, count: 4 * head.rows * head.columns * together)
  }
}
