import ArgumentParser
struct RecommendCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "recommend")
}
