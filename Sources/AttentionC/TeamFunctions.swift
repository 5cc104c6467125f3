import Attention
import CAttnbench
import MachineTopology

@c @implementation
public func attnbench_team_create(
  _ options: UnsafePointer<attnbench_team_options>?, _ team: UnsafeMutablePointer<OpaquePointer?>?
) -> Int32 {
  reporting {
    guard let team else { throw InterfaceError.null("team") }
    team.pointee = nil
    if let problem = KernelTable.environmentProblem { throw problem }
    let options =
      try options.map { try attnbench_team_options.read($0, "options") }
      ?? attnbench_team_options()
    let binding = try options.binding.map { try ThreadBinding(parsing: text($0, "binding")) }
    let topology = try MachineTopology.host()
    let threads = options.threads == 0 ? topology.allowedCores.count : Int(options.threads)
    team.pointee = HandleTable.add(
      try WorkerTeam(
        threads: threads, binding: binding ?? .none, topology: topology,
        bestEffort: flag(options.best_effort, "options.best_effort")))
  }
}

@c @implementation
public func attnbench_team_destroy(_ team: OpaquePointer?) {
  HandleTable.remove(team, as: WorkerTeam.self)
}
