from simple_app import application

__all__ = ["application"]
