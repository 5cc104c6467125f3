import Attention
import CAttnbench
import MachineTopology
import Synchronization

/// A plan that threads take turns at.
private final class SharedPlan: @unchecked Sendable {
  let strategy: any AttentionStrategy
  let problem: AttentionProblem
  let threads: Int
  let plan: any AttentionPlan
  /// Held during a run: the plan's workspace serves one at a time.
  private let turn = Mutex<Void>(())

  init(
    _ problem: AttentionProblem, _ strategy: any AttentionStrategy, on team: WorkerTeam
  ) throws {
    self.problem = problem
    self.strategy = strategy
    threads = team.threadCount
    plan = try strategy.plan(for: problem, on: team)
  }

  func run(_ operands: attnbench_operands) throws {
    let operands = try operands.operands(batch: problem.shape.batch)
    var visibility = problem.visibility
    if let lengths = operands.keyLengths { visibility.keyLengths = lengths }
    try plan.declaredOperands.checkValues(operands.inputs.named, under: visibility)
    try turn.withLock { _ in try plan.run(operands) }
  }
}

@c @implementation
public func attnbench_plan_create(
  _ problem: UnsafePointer<attnbench_problem>?, _ strategyText: UnsafePointer<CChar>?,
  _ team: OpaquePointer?, _ plan: UnsafeMutablePointer<OpaquePointer?>?
) -> Int32 {
  reporting {
    guard let plan else { throw InterfaceError.null("plan") }
    plan.pointee = nil
    let team = try HandleTable.object(team, "team", as: WorkerTeam.self)
    let problem = try attnbench_problem.read(problem, "problem").problem()
    let strategy = try strategy(strategyText, for: problem)
    plan.pointee = HandleTable.add(try SharedPlan(problem, strategy, on: team))
  }
}

@c @implementation
public func attnbench_plan_run(
  _ plan: OpaquePointer?, _ operands: UnsafePointer<attnbench_operands>?
) -> Int32 {
  reporting {
    try HandleTable.object(plan, "plan", as: SharedPlan.self)
      .run(attnbench_operands.read(operands, "operands"))
  }
}

@c @implementation
public func attnbench_plan_info(
  _ plan: OpaquePointer?, _ info: UnsafeMutablePointer<attnbench_info>?
) -> Int32 {
  reporting {
    let plan = try HandleTable.object(plan, "plan", as: SharedPlan.self)
    let work = try plan.strategy.work(for: plan.problem, threads: plan.threads)
    var found = attnbench_info()
    found.operator_class = plan.strategy.operatorClass.code
    found.takes_key_lengths = plan.plan.takesKeyLengths ? 1 : 0
    found.threads = UInt32(plan.threads)
    found.pairs = Int64(work.pairs)
    found.flops = Int64(work.flops)
    found.minimum_bytes = Int64(work.minimumBytes)
    found.workspace_bytes = Int64(plan.plan.workspaceBytes)
    try found.write(to: info, "info")
  }
}

@c @implementation
public func attnbench_plan_spec(
  _ plan: OpaquePointer?, _ text: UnsafeMutablePointer<CChar>?, _ capacity: Int
) -> Int32 {
  reporting {
    let plan = try HandleTable.object(plan, "plan", as: SharedPlan.self)
    guard let text else { throw InterfaceError.null("text") }
    guard capacity > 0 else {
      throw InterfaceError(.invalidArgument, "capacity = \(capacity): must be at least 1")
    }
    // Specifications are ASCII: any byte may be the last.
    let spec = plan.strategy.spec(for: plan.problem).utf8.prefix(capacity - 1)
    for (index, byte) in spec.enumerated() { text[index] = CChar(bitPattern: byte) }
    text[spec.count] = 0
  }
}

@c @implementation
public func attnbench_plan_destroy(_ plan: OpaquePointer?) {
  HandleTable.remove(plan, as: SharedPlan.self)
}

extension OperatorClass {
  /// Its number in the header.
  var code: UInt32 {
    switch self {
    case .exact: ATTNBENCH_EXACT.rawValue
    case .restricted: ATTNBENCH_RESTRICTED.rawValue
    case .different: ATTNBENCH_DIFFERENT.rawValue
    }
  }
}
